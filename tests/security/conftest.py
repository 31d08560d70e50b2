"""The service behind a password; and how long hypothesis looks: shortly, always at the same, but for ``make fuzz``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from label_studio_ml.api import init_app

from model import YOLO
from yolo_backend.pipeline import engine
from yolo_backend.pipeline.engine import Engine
from yolo_backend.serving import dispatcher as dispatcher_module
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.serving.routes import add_routes
from yolo_backend.settings import Settings

RIGHT = ("annotator", "right password")

Start = Callable[..., Flask]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile(
    "short", derandomize=True, database=None, deadline=None, max_examples=60, suppress_health_check=_SLOW
)
settings.register_profile("long", database=None, deadline=None, max_examples=1000, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("FUZZ", "short"))


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Makes the service as `_wsgi.py` does, behind a password, in a moment that doesn't end."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))

    def make(**settings: Any) -> Flask:
        dispatcher = Dispatcher(Engine(Settings(model_dir=tmp_path, **settings)))
        monkeypatch.setattr(dispatcher_module, "get_dispatcher", lambda: dispatcher)
        monkeypatch.setattr("model.get_dispatcher", lambda: dispatcher)
        monkeypatch.setattr(engine, "get_engine", lambda: dispatcher.engine)
        app = init_app(YOLO, *RIGHT)
        # A clock that stands still: what is allowed must not depend on how fast the test runs.
        service = app.extensions["label_studio_ml"]
        for limit in (service.untrusted_events, service.password_guard._failures):
            monkeypatch.setattr(limit, "_clock", lambda: 1000.0)
        add_routes(app, dispatcher)
        return app

    return make
