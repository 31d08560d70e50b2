"""What the process imports before it answers: nothing that takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from label_studio_ml.api import init_app

from model import YOLO
from yolo_backend.pipeline.engine import Engine
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.settings import PROJECT_DIR, Settings

SLOW = ("torch", "torchvision", "ultralytics", "openvino", "onnxruntime", "nltk", "pandas", "matplotlib", "scipy")


def test_nothing_slow_is_imported_at_the_start(tmp_path: Path) -> None:
    program = f"import sys, _wsgi; print(*(name for name in {SLOW} if name in sys.modules))"
    environment = {**os.environ, "MODEL_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_what_is_kept_of_projects_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_DIR", raising=False)  # the setting has a default, and the SDK another one
    dispatcher = Dispatcher(Engine(Settings(model_dir=tmp_path / "data")))
    monkeypatch.setattr("model.get_dispatcher", lambda: dispatcher)
    YOLO(project_id="1.1").set("key", "value")
    assert (tmp_path / "data" / "cache.db").is_file()


def test_versions_before_any_project_is_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(Engine(Settings(model_dir=tmp_path)))
    monkeypatch.setattr("model.get_dispatcher", lambda: dispatcher)
    (version,) = init_app(YOLO).test_client().get("/versions").get_json()["versions"]
    assert version.startswith("no-model-")
    assert caplog.text == ""  # nothing is wrong with a labeling config that nobody has sent
