"""What the service writes is for its user alone, even without a umask: caches, networks, pictures, counters, ledger."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import requests

from tests.e2e.service import Service
from yolo_backend import private_files
from yolo_backend.serving.ledger import PredictionKey
from yolo_backend.serving.shared_ledger import SharedPredictionLedger
from yolo_backend.settings import PROJECT_DIR

CONFIG = """<View><Image name="i" value="$i"/><RectangleLabels name="c" toName="i" model_path="demo-detect.pt">
<Label value="barcode"/></RectangleLabels></View>"""


def open_to_others(directory: Path) -> list[str]:
    """What others can get at in a directory, itself included."""
    paths = [path for path in (directory, *directory.rglob("*")) if not path.is_symlink()]
    return [f"{stat.filemode(path.stat().st_mode)} {path}" for path in paths if path.stat().st_mode & 0o077]


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def without_umask(command: Sequence[str]) -> Sequence[str]:
    return ["sh", "-c", 'umask 0; exec "$@"', "sh", *command]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_a_service_of_several_workers(tmp_path: Path, runtime: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(0o700)
    settings = {
        "WORKERS": "2",
        "RUNTIME": runtime,
        "DEBUG_PLOT": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(PROJECT_DIR / "examples" / "images"),
        "MODEL_DIR": str(tmp_path / "new" / "data"),
        "YOLO_CONFIG_DIR": str(tmp_path / "new" / "data"),
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "LABEL_STUDIO_URL": "http://127.0.0.1:1",
    }
    with Service(tmp_path, settings, within=without_umask) as service, requests.Session() as session:
        session.trust_env = False
        project = {"project": "1.1", "schema": CONFIG, "hostname": "", "access_token": "secret"}
        assert session.post(f"{service.url}/setup", json=project, timeout=60).ok
        task = {"id": 1, "data": {"i": "/data/local-files/?d=photo-02.jpg"}}
        request = {"project": "1.1", "label_config": CONFIG, "tasks": [task], "params": {}}
        assert session.post(f"{service.url}/predict", json=request, timeout=120).json()["results"][0]["result"]
        written = {path.name for path in (*shared.rglob("*"), *(tmp_path / "new").rglob("*"))}
        assert {"ledger.sqlite", "cache.db", "settings.json", "task-1-0-demo-detect.jpg", runtime} <= written
        assert any(name.endswith(".db") and name != "cache.db" for name in written), "counters"
        assert open_to_others(tmp_path / "new") == []
        assert open_to_others(shared) == []


@pytest.mark.slow
def test_a_network_that_the_command_line_makes(tmp_path: Path) -> None:
    from yolo_backend.inference.exports import Exports
    from yolo_backend.inference.weights import sha256

    weights = PROJECT_DIR / "models" / "demo-detect.pt"
    made = Exports(tmp_path / "new" / "openvino").make(weights, sha256(weights))
    assert made.is_dir()
    assert open_to_others(tmp_path / "new") == []


@pytest.mark.slow
def test_settings_of_the_library(tmp_path: Path) -> None:
    script = "from yolo_backend.inference.library import ultralytics; ultralytics()"
    env = os.environ | {"MODEL_DIR": str(tmp_path / "new" / "data")}
    env.pop("YOLO_CONFIG_DIR", None)
    subprocess.run(without_umask([sys.executable, "-c", script]), cwd=PROJECT_DIR, env=env, check=True)
    assert list((tmp_path / "new").rglob("settings.json"))
    assert open_to_others(tmp_path / "new") == []


def test_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    key = PredictionKey(url=None, project=None, task=1, version="1")
    SharedPredictionLedger(str(path)).begin([key], 0, single=True)
    assert path.exists()
    assert [line for line in open_to_others(tmp_path) if "ledger" in line] == []


def closed(path: Path) -> None:
    path.touch(0o666)
    private_files.make_file(path)


def made_by_others(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    (path / "inside" / "file").write_text("x")
    (path / "link").symlink_to("/")
    private_files.close_to_others(path)


def made_meanwhile(path: Path) -> None:
    with private_files.private_umask():
        made_by_others(path)


@pytest.mark.parametrize(
    "make",
    [
        private_files.make_directory,
        lambda path: private_files.make_directory(path / "deep" / "down"),
        private_files.make_file,
        closed,
        made_by_others,
        made_meanwhile,
    ],
    ids=["directory", "directories", "file", "a file that is there", "made by others", "made meanwhile"],
)
def test_modes(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "made")
    assert (tmp_path / "made").exists()
    assert open_to_others(tmp_path / "made") == []
    assert os.umask(0) == 0


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        private_files.make_directory(tmp_path / "file" / "directory")
