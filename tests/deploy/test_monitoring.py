"""The dashboard and the alert rules ask for metrics that the service really exports, with labels that they really have."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from label_studio_ml.api import init_app
from prometheus_client.parser import text_string_to_metric_families

from model import YOLO
from yolo_backend.serving.dispatcher import get_dispatcher
from yolo_backend.serving.routes import add_routes

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CONFIG = """
<View><Image name="image" value="$image"/>
<RectangleLabels name="code" toName="image" model_path="demo-detect.pt"><Label value="qr_code"/><Label value="barcode"/>
</RectangleLabels></View>
"""
OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that Prometheus adds, or has for histograms."""


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def rules() -> Iterator[dict[str, Any]]:
    yield from (rule for group in ALERTS["groups"] for rule in group["rules"])


EXPRESSIONS = [
    *(pytest.param(target["expr"], id=f"panel {panel['title']}") for panel in panels() for target in panel["targets"]),
    *(pytest.param(rule["expr"], id=f"alert {rule['alert']}") for rule in rules()),
]


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each sample that the service exports once it has predicted something."""
    app = init_app(YOLO)
    add_routes(app, get_dispatcher())
    client = app.test_client()
    image = base64.b64encode((ROOT / "examples" / "images" / "photo-01.jpg").read_bytes()).decode()
    tasks = [{"id": 1, "data": {"image": f"data:image/jpeg;base64,{image}"}}]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG})
    assert answer.json is not None
    assert answer.json["results"][0]["result"]
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_is_exported(exported: dict[str, set[str]], expression: str) -> None:
    selectors = re.findall(r"\b(yolo_backend_\w+|up)(?:\{([^}]*)\})?", expression)
    assert selectors
    for name, matchers in selectors:
        assert name in exported, f"no such metric: {name}"
        asked = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers))
        assert asked <= exported[name] | OF_PROMETHEUS, f"{name} has no label {asked - exported[name]}"
    grouped = {label for labels in re.findall(r"by \(([\w, ]+)\)", expression) for label in labels.split(", ")}
    assert grouped <= set().union(*(exported[name] for name, _ in selectors)) | OF_PROMETHEUS


def test_a_name_that_is_not_exported_is_noticed(exported: dict[str, set[str]]) -> None:
    with pytest.raises(AssertionError, match="no such metric"):
        test_an_expression_asks_for_what_is_exported(exported, "rate(yolo_backend_tasks_totals[5m])")
    with pytest.raises(AssertionError, match="has no label"):
        test_an_expression_asks_for_what_is_exported(exported, 'yolo_backend_tasks_total{project="7"}')


def test_alerts_say_what_they_mean() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 9
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in OPERATIONS, "docs/operations.md doesn't say what to do"


def test_panels_have_a_place_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] for panel in DASHBOARD["panels"])
