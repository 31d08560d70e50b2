"""What runs on the nodes of a Ray cluster, here without one; tests/e2e/test_ray.py has a real one."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import free_port
from yolo_backend.batch.ray import Actor, RayWorkers
from yolo_backend.errors import BackendError, ConfigError
from yolo_backend.settings import PROJECT_DIR, Settings, settings_environment
from yolo_backend.tasks import Prediction

CONFIG = (PROJECT_DIR / "examples" / "RectangleLabels.xml").read_text()
PHOTOS = PROJECT_DIR / "examples" / "images"


def test_an_actor_has_the_settings_of_who_started_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # So that they are what they were, after the actor has set them.
    for name in ("LOCAL_FILES_DOCUMENT_ROOT", "MODEL_DIR"):
        monkeypatch.setenv(name, "nowhere")
    actor = Actor({"LOCAL_FILES_DOCUMENT_ROOT": str(PHOTOS), "MODEL_DIR": str(tmp_path)}, CONFIG)
    tasks = [{"id": 1, "data": {"image": "/data/local-files/?d=photo-03.jpg"}}, {"id": 2, "data": {}}]
    found, failed = (outcome for _, outcome in sorted(actor.compute(tasks), key=lambda one: one[0]))
    assert isinstance(found, Prediction)
    assert found.model_version == actor.version()
    assert found.regions
    assert isinstance(failed, BackendError)
    assert str(pickle.loads(pickle.dumps(failed))) == str(failed)


def test_settings_are_taken_from_the_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://label-studio:8080")
    monkeypatch.setenv("BATCH_SIZE", "3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not ours")
    found = settings_environment()
    assert found["LABEL_STUDIO_HOST"] == "http://label-studio:8080"
    assert found["BATCH_SIZE"] == "3"
    assert "AWS_SECRET_ACCESS_KEY" not in found


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements-ray\.txt"):
        RayWorkers("auto", Settings(), CONFIG)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_told_at_once(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match=f"no Ray cluster at {address}: connection refused"):
        RayWorkers(address, Settings(), CONFIG)
