"""What `/metrics` counts of real requests, and that it tells nothing that isn't for everybody."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from label_studio_ml.api import init_app
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from model import YOLO
from yolo_backend.errors import ConfigError, MediaError, WeightsError
from yolo_backend.inference import ModelSpec, ModelStore, WeightsStore
from yolo_backend.observability import metrics
from yolo_backend.serving.dispatcher import get_dispatcher
from yolo_backend.serving.routes import add_routes
from yolo_backend.settings import Settings

IMAGES = Path(__file__).parents[2] / "examples" / "images"
CONFIG = """
<View><Image name="image" value="$image"/>
<RectangleLabels name="code" toName="image" model_path="demo-detect.pt"><Label value="qr_code"/><Label value="barcode"/>
</RectangleLabels></View>
"""

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def client() -> FlaskClient:
    app: Flask = init_app(YOLO)
    add_routes(app, get_dispatcher())
    return app.test_client()


@pytest.fixture
def values(client: FlaskClient) -> Callable[[], Values]:
    """Reads `/metrics` as Prometheus does."""

    def read() -> Values:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return read


def increases(before: Values, after: Values) -> dict[str, float]:
    """What has grown, by name and labels in one string."""
    return {
        " ".join([name, *(f"{key}={value}" for key, value in sorted(labels))]): value - before.get((name, labels), 0)
        for (name, labels), value in after.items()
        if value > before.get((name, labels), 0)
    }


def photo(name: str) -> str:
    return "data:image/jpeg;base64," + base64.b64encode((IMAGES / name).read_bytes()).decode()


def predict(client: FlaskClient, tasks: list[dict[str, Any]], config: str = CONFIG) -> list[Any]:
    answer = client.post("/predict", json={"tasks": tasks, "project": "4.1", "label_config": config})
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return answer.json["results"]


def test_a_request_is_counted_through_all_its_steps(client: FlaskClient, values: Callable[[], Values]) -> None:
    tasks = [{"id": number, "data": {"image": photo(f"photo-0{number}.jpg"), "for": "metrics"}} for number in (1, 2)]
    broken = {"id": 3, "data": {"image": "data:image/jpeg;base64,bm90IGFuIGltYWdl", "for": "metrics"}}
    before = values()
    results = predict(client, [*tasks, broken])
    found = sum(len(result["result"]) for result in results if result)
    grown = increases(before, values())
    assert grown["yolo_backend_requests_total route=/predict status=200"] == 1
    assert grown["yolo_backend_request_seconds_count route=/predict"] == 1
    assert grown["yolo_backend_tasks_asked_total cache=miss"] == 3
    assert grown["yolo_backend_tasks_total outcome=predicted reason="] == 2
    assert grown["yolo_backend_tasks_total outcome=failed reason=media"] == 1
    assert grown["yolo_backend_regions_total type=rectanglelabels"] == found > 0
    assert grown["yolo_backend_fetch_seconds_count"] == 3
    assert grown["yolo_backend_decode_seconds_count"] == 2  # the third is no image
    assert grown["yolo_backend_model_images_total task=detect"] == 2
    assert grown["yolo_backend_model_seconds_count task=detect"] >= 1

    before = values()
    predict(client, tasks)
    grown = increases(before, values())
    assert grown["yolo_backend_tasks_asked_total cache=hit"] == 2
    assert "yolo_backend_tasks_asked_total cache=miss" not in grown

    now = values()
    assert now["yolo_backend_tasks_pending", frozenset()] == 0
    assert now["yolo_backend_requests_waiting", frozenset()] == 0
    assert now["yolo_backend_cached_predictions", frozenset()] >= 2
    assert now["yolo_backend_cached_bytes", frozenset()] > 0


def test_models_in_memory_are_counted_by_their_kind(values: Callable[[], Values], tmp_path: Path) -> None:
    settings = Settings(model_dir=tmp_path, runtime="pytorch")
    model = ModelStore(settings, WeightsStore(settings)).get(ModelSpec(weights="demo-detect.pt"))
    assert 1e6 < model.weights_bytes < 20e6  # of 0.5 million parameters, at four bytes each
    metrics.models_in_memory([("detect", "pytorch", 5), ("detect", "pytorch", 7), ("obb", "openvino", 11)])
    now: dict[str, dict[tuple[str, str], float]] = {
        name: {} for name in ("yolo_backend_models_loaded", "yolo_backend_models_bytes")
    }
    for (name, labels), value in values().items():
        if name in now and value:
            now[name][dict(labels)["task"], dict(labels)["runtime"]] = value
    assert now["yolo_backend_models_loaded"] == {("detect", "pytorch"): 2, ("obb", "openvino"): 1}
    assert now["yolo_backend_models_bytes"] == {("detect", "pytorch"): 12, ("obb", "openvino"): 11}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (MediaError("gone"), "media"),
        (WeightsError("damaged"), "weights"),
        (ConfigError("nothing can be filled in"), "config"),
        (RuntimeError("a fault of ours"), "fault"),
    ],
)
def test_a_failed_task_has_a_reason(values: Callable[[], Values], outcome: Exception, reason: str) -> None:
    before = values()
    metrics.task_done(outcome)
    grown = increases(before, values())
    assert grown[f"yolo_backend_tasks_total outcome=failed reason={reason}"] == 1


def test_requests_that_are_refused_are_counted(client: FlaskClient, values: Callable[[], Values]) -> None:
    before = values()
    client.post("/predict", data="not JSON")
    client.get("/no/such/address")
    grown = increases(before, values())
    assert grown["yolo_backend_requests_total route=/predict status=400"] == 1
    assert grown["yolo_backend_requests_total route=other status=404"] == 1


def test_nothing_from_outside_gets_into_a_label(client: FlaskClient) -> None:
    secret = "s3cr3t-project-of-ours"
    config = CONFIG.replace('name="code"', f'name="{secret}"').replace('"qr_code"', f'"{secret}"')
    predict(client, [{"id": secret, "data": {"image": f"http://127.0.0.1:1/{secret}.jpg?token={secret}"}}], config)
    client.get(f"/{secret}")
    client.post(
        "/setup", json={"project": secret, "schema": config, "hostname": f"http://{secret}", "access_token": secret}
    )
    assert secret not in client.get("/metrics").text


def test_every_metric_says_what_it_is(client: FlaskClient) -> None:
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("yolo_backend_")
        assert family.documentation.endswith(".")


def test_models_that_are_dropped_are_no_longer_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    loaded = Gauge("loaded", "", ("task", "runtime"), registry=registry)
    memory = Gauge("bytes", "", ("task", "runtime"), registry=registry)
    monkeypatch.setattr(metrics, "models_loaded", loaded)
    monkeypatch.setattr(metrics, "models_bytes", memory)
    metrics.models_in_memory([("detect", "pytorch", 5), ("detect", "pytorch", 6), ("pose", "pytorch", 7)])
    metrics.models_in_memory([("detect", "openvino", 5)])
    left = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.value
    }
    assert left == {("loaded", "detect", "openvino"): 1, ("bytes", "detect", "openvino"): 5}


def test_a_file_that_a_worker_is_just_making_is_waited_for(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = tmp_path / "counter_1.db"
    unfinished.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    timer = threading.Timer(0.1, unfinished.unlink)
    timer.start()
    assert client.get("/metrics").status_code == 200
    timer.join()
