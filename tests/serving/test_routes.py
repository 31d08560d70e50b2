"""What operators and probes ask, and what happens when too many ask for predictions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse

from yolo_backend.inference import ModelStore
from yolo_backend.pipeline.engine import Engine
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.serving.routes import add_routes
from yolo_backend.settings import Settings

PREDICT = {"tasks": [{"id": 1, "data": {}}], "label_config": "<View/>"}


class Patient(LabelStudioMLBase):
    """A model that predicts when it is told to."""

    started = threading.Semaphore(0)
    may_end = threading.Event()

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> ModelResponse:
        self.started.release()
        self.may_end.wait(30)
        if kwargs.get("fail"):
            raise RuntimeError("it fails")
        return ModelResponse(predictions=[[] for _ in tasks])


def application(tmp_path: Path, **settings: Any) -> Flask:
    app = init_app(Patient, basic_auth_user="annotator", basic_auth_pass="right")
    add_routes(app, Dispatcher(Engine(Settings(model_dir=tmp_path, **settings))))
    return app


AUTH = ("annotator", "right")


def test_too_many_predict_requests_are_refused_at_once(tmp_path: Path) -> None:
    app = application(tmp_path, max_concurrent_predicts=2)
    Patient.may_end.clear()

    def predict(fail: bool = False) -> Any:
        return app.test_client().post("/predict", json=PREDICT | {"params": {"fail": fail}}, auth=AUTH)

    with ThreadPoolExecutor(2) as clients:
        served = [clients.submit(predict, fail) for fail in (False, True)]
        for _ in served:
            assert Patient.started.acquire(timeout=30)
        refused = predict()
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert "MAX_CONCURRENT_PREDICTS" in refused.get_json()["error"]
        assert app.test_client().get("/health").status_code == 200
        assert app.test_client().post("/setup", json={"schema": "<View/>"}, auth=AUTH).status_code == 200
        assert app.test_client().get("/status", auth=AUTH).get_json()["requests_refused"] == 1
        Patient.may_end.set()
        assert sorted(each.result(30).status_code for each in served) == [200, 500]
    # Their places are free again, also that of the one that failed, and of one without a password.
    assert app.test_client().post("/predict", json=PREDICT).status_code == 401
    assert [predict().status_code for _ in range(3)] == [200, 200, 200]


def test_probes_need_no_password_but_the_status_does(tmp_path: Path) -> None:
    client = application(tmp_path).test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code in (200, 503)
    assert client.get("/status").status_code == 401
    assert client.get("/nowhere").status_code == 401


@pytest.mark.parametrize(("imported", "code", "said"), [(False, 503, "STARTING"), (True, 200, "READY")])
def test_ready_once_it_can_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: bool, code: int, said: str
) -> None:
    monkeypatch.setattr(ModelStore, "is_ready", imported)
    answer = application(tmp_path).test_client().get("/ready")
    assert (answer.status_code, answer.json) == (code, {"status": said})
