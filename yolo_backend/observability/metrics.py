"""Metrics for Prometheus: all that the service counts and measures, and the route ``/metrics``.

Counting takes some microseconds. Each of several worker processes writes to files of its own in
``PROMETHEUS_MULTIPROC_DIR``, which ``gunicorn_hooks`` makes, and any of them adds all files up. No label holds text from
outside, such as the name of a file, a project or a task.
"""

from __future__ import annotations

import collections
import os
import platform
import struct
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from yolo_backend import __version__
from yolo_backend.errors import ConfigError, MediaError, WeightsError

if TYPE_CHECKING:
    from yolo_backend.tasks import Prediction

ROUTE = "label_studio_ml.metrics"

_OF_A_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90, 100)
_OF_A_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REASONS = {ConfigError: "config", MediaError: "media", WeightsError: "weights"}
_FAULT = "fault"

registry = CollectorRegistry()


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"yolo_backend_{name}", meaning, labels, registry=registry)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    """Return a gauge that is summed over the living workers."""
    return Gauge(f"yolo_backend_{name}", meaning, labels, registry=registry, multiprocess_mode="livesum")


def _histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = _OF_A_STEP) -> Histogram:
    return Histogram(f"yolo_backend_{name}", meaning, labels, registry=registry, buckets=buckets)


info = Gauge(
    "yolo_backend_info",
    "Always 1; the labels are the versions of the service and of what it is built on.",
    ("version", "python", "ultralytics", "torch", "openvino"),
    registry=registry,
    multiprocess_mode="livemax",
)
workers_ready = _gauge("workers_ready", "Worker processes that can predict.")

requests = _counter("requests_total", "Requests answered.", "route", "status")
request_seconds = _histogram(
    "request_seconds", "Seconds from a request's arrival to its answer.", "route", buckets=_OF_A_REQUEST
)
requests_refused = _counter("requests_refused_total", "Predict requests beyond MAX_CONCURRENT_PREDICTS.")
requests_waiting = _gauge("requests_waiting", "Predict requests that wait for their tasks.")

tasks = _counter("tasks_total", "Tasks computed, by outcome (predicted, failed) and why.", "outcome", "reason")
tasks_pending = _gauge("tasks_pending", "Tasks being computed or waiting for it.")
tasks_late = _counter("tasks_late_total", "Tasks that were not ready at the deadline of their request, or at its end.")
regions = _counter("regions_total", "Regions predicted, by their type.", "type")
tasks_asked = _counter(
    "tasks_asked_total", "Tasks asked for: in memory (hit), being computed already (joined), or new (miss).", "cache"
)
cached_predictions = _gauge("cached_predictions", "Predictions kept in memory.")
cached_bytes = _gauge("cached_bytes", "Memory of the predictions that are kept.")

fetch_seconds = _histogram("fetch_seconds", "Seconds to fetch one image or video.")
decode_seconds = _histogram("decode_seconds", "Seconds to decode one image.")
fetched_bytes = _counter("fetched_bytes_total", "Bytes of the images and videos that were fetched.")
model_seconds = _histogram("model_seconds", "Seconds of one batch in a model.", "task")
model_images = _counter("model_images_total", "Images or frames that went through a model.", "task")

models_loaded = _gauge("models_loaded", "Models in memory.", "task", "runtime")
models_bytes = _gauge("models_bytes", "Memory of the weights of the models in memory.", "task", "runtime")
model_loads = _counter("model_loads_total", "Models loaded, by outcome (loaded, failed).", "outcome")
exports_running = _gauge("exports_running", "Networks for OpenVINO that are being made in the background.")
exports = _counter("exports_total", "Networks for OpenVINO made in the background, by outcome.", "outcome")

predictions_to_post = _gauge("predictions_to_post", "Predictions promised to Label Studio and not yet posted.")
predictions_posted = _counter(
    "predictions_posted_total", "Predictions posted to Label Studio, by outcome (posted, refused).", "outcome"
)
post_retries = _counter("post_retries_total", "Posts that failed and are tried again.")

# Present from the start, so that Prometheus sees the first failure as an increase.
for _reason in (*_REASONS.values(), _FAULT):
    tasks.labels("failed", _reason)
tasks.labels("predicted", "")
for _outcome in ("hit", "joined", "miss"):
    tasks_asked.labels(_outcome)
for _outcome in ("made", "failed"):
    exports.labels(_outcome)
for _outcome in ("loaded", "failed"):
    model_loads.labels(_outcome)
for _outcome in ("posted", "refused"):
    predictions_posted.labels(_outcome)


def task_done(outcome: Prediction | Exception) -> None:
    """Count a task, and its regions."""
    if isinstance(outcome, Exception):
        why = next((reason for kind, reason in _REASONS.items() if isinstance(outcome, kind)), _FAULT)
        tasks.labels("failed", why).inc()
        return
    tasks.labels("predicted", "").inc()
    for type_, number in collections.Counter(region["type"] for region in outcome.regions).items():
        regions.labels(type_).inc(number)


_kinds_seen: set[tuple[str, str]] = set()


def models_in_memory(kinds: Iterable[tuple[str, str, int]]) -> None:
    """Set the gauges of loaded models: of each model the YOLO task, the runtime and the bytes of its weights."""
    models: collections.Counter[tuple[str, str]] = collections.Counter()
    memory: collections.Counter[tuple[str, str]] = collections.Counter()
    for task, runtime, size in kinds:
        models[task, runtime] += 1
        memory[task, runtime] += size
    _kinds_seen.update(models)
    for kind in list(_kinds_seen):
        models_loaded.labels(*kind).set(models[kind])
        models_bytes.labels(*kind).set(memory[kind])


# A worker that starts makes its files before it writes to them.
@retry(retry=retry_if_exception_type(struct.error), stop=stop_after_attempt(5), wait=wait_fixed(0.05), reraise=True)
def exposition() -> Response:
    """Report all metrics, those of the other workers included."""
    source = registry
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        source = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(source)
    return Response(generate_latest(source), content_type=CONTENT_TYPE_LATEST)


def measure(app: Flask) -> None:
    """Serve ``/metrics``, and measure every request of an application."""
    app.view_functions[ROUTE] = exposition
    info.labels(
        version=__version__,
        python=platform.python_version(),
        ultralytics=_version("ultralytics-opencv-headless"),
        torch=_version("torch"),
        openvino=_version("openvino"),
    ).set(1)

    @app.after_request
    def measured(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "other"
        requests.labels(route, str(response.status_code)).inc()
        if (arrived := g.get("arrived")) is not None:
            request_seconds.labels(route).observe(time.monotonic() - arrived)
        return response


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
