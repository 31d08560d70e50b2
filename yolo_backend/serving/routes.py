"""What the service answers beside the SDK's routes, and how many predict requests it takes at once."""

from __future__ import annotations

import logging
import threading
import time

from flask import Flask, Response, g, jsonify, request
from label_studio_ml.auth import is_authenticated, open_to_all
from label_studio_ml.cache import shared_cache
from label_studio_ml.connection import REFUSED
from werkzeug.exceptions import RequestEntityTooLarge

from yolo_backend import __version__
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import identify_requests
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.serving.openapi import document

logger = logging.getLogger(__name__)

PREDICT = "label_studio_ml.predict"
RETRY_AFTER = 5  # seconds


def add_routes(app: Flask, dispatcher: Dispatcher) -> None:
    """Give the application ``/ready``, ``/status``, ``/metrics`` and ``/openapi.json``, and a limit on predict requests."""
    app.config["MAX_CONTENT_LENGTH"] = int(dispatcher.settings.max_request_mb * 1e6)
    app.config["TRUSTED_PROXIES"] = dispatcher.settings.trusted_proxies
    app.config["ALLOWED_HOSTS"] = dispatcher.settings.allowed_hosts.split(",")
    cache = shared_cache(dispatcher.settings.model_dir)
    slots = threading.BoundedSemaphore(dispatcher.settings.max_concurrent_predicts)

    identify_requests(app)
    metrics.measure(app)

    @app.before_request
    def admit() -> tuple[Response, int] | None:
        g.arrived = time.monotonic()
        if request.endpoint != PREDICT:
            return None
        g.admitted = slots.acquire(blocking=False)
        if g.admitted:
            return None
        dispatcher.refused += 1
        metrics.requests_refused.inc()
        answer = jsonify(error="Too many predict requests at once (MAX_CONCURRENT_PREDICTS); ask again later")
        answer.headers["Retry-After"] = str(RETRY_AFTER)
        return answer, 503

    @app.errorhandler(413)
    def too_large(error: RequestEntityTooLarge) -> tuple[Response, int]:
        text = f"The body has more bytes than MAX_REQUEST_MB allows ({dispatcher.settings.max_request_mb:g})"
        if error.description != RequestEntityTooLarge.description:  # a route's own limit
            text = error.description or text
        logger.warning("%s %r: 413 %s", request.method, request.path, text)
        return jsonify(error=text), 413

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        if g.pop("admitted", False):
            slots.release()

    @app.get("/ready")
    @open_to_all
    def ready() -> tuple[Response, int]:
        """Tell whether the process can predict: for a probe that decides whether requests are sent here."""
        return (
            (jsonify(status="READY"), 200) if dispatcher.engine.models.is_ready else (jsonify(status="STARTING"), 503)
        )

    @app.get("/status")
    def status() -> Response:
        """Tell what the service is doing, for the operator: numbers alone where no password proves who is asking."""
        refused = {project: host for project, host in cache.by_project(REFUSED).items() if host}
        details = dispatcher.details() | {"refused_hostnames": refused} if is_authenticated() else {}
        return jsonify(version=__version__, **dispatcher.status(), setups_refused=len(refused), **details)

    description = document()

    @app.get("/openapi.json")
    def openapi() -> Response:
        """Describe all routes."""
        return jsonify(description)
