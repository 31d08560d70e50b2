"""Which versions the example configs have, and what changes a version."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from yolo_backend.controls import Control
from yolo_backend.inference import WeightsStore
from yolo_backend.label_studio.labeling_config import Label
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings

GOLDEN = Path(__file__).with_name("golden_versions.json")
EXAMPLES = sorted((PROJECT_DIR / "examples").glob("*.xml"))

WHEN_TO_CHANGE = """
The model version of an example config has changed, and with it that of every user's project: all of their tasks will be
predicted again, and each gets one more prediction.

That is right if the same config and weights now give other regions (raise the tag's `revision`), or if the bundled weights
or the example itself were replaced. It is wrong if code was only moved, renamed, or given an attribute whose default changes
nothing: then mend `fingerprint`. If it is right, put this into golden_versions.json and a line into CHANGELOG.md:
"""


def version(xml: str) -> str:
    return make_plan(xml, Settings()).model_version(WeightsStore(Settings()))


def test_versions_of_the_examples_are_what_users_have() -> None:
    versions = {path.name: version(path.read_text()) for path in EXAMPLES}
    assert versions == json.loads(GOLDEN.read_text()), WHEN_TO_CHANGE + json.dumps(versions, indent=1)


def _other(value: Any) -> Any:
    """Return something of the same kind that is not ``value``."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if value is None:
        return 77
    if isinstance(value, tuple):
        return (*value, *value[-1:]) if value else None
    return None


def controls() -> list[Control]:
    return [control for path in EXAMPLES for control in make_plan(path.read_text(), Settings()).controls]


@pytest.mark.parametrize("control", controls(), ids=str)
def test_no_field_of_a_control_is_forgotten(control: Control) -> None:
    stated_elsewhere = {"model_path", "model_score_threshold", "model_skip"}
    replaced_together = {"labels", "label_thresholds"}  # of one length
    whole = {"to_name", "source", "labels_name", "points", "boxes", "tracker_parameters"}
    changes: dict[str, dict[str, Any]] = {
        "labels": {"labels": tuple(Label(value=f"{label.value}x", names=label.names) for label in control.labels)},
        "label_thresholds": {"label_thresholds": tuple(value / 2 for value in control.label_thresholds)},
        "source": {"source": dataclasses.replace(control.source, value="$other")},
        "to_name": {"to_name": "other"},
        "labels_name": {"labels_name": "other"},
        "points": {"points": ()},
        "boxes": {"boxes": None},
        "tracker_parameters": {"tracker_parameters": (("track_buffer", 3),)},
    }
    for field in dataclasses.fields(control):
        value = getattr(control, field.name)
        if field.name in stated_elsewhere or (field.name in ("points", "boxes") and not value):
            continue
        change = changes[field.name] if field.name in whole | replaced_together else {field.name: _other(value)}
        changed = control.with_fields(change)
        assert changed.fingerprint() != control.fingerprint(), field.name


@pytest.mark.parametrize("control", controls(), ids=str)
def test_a_fingerprint_is_json_without_what_is_at_its_default(control: Control) -> None:
    state = control.fingerprint()
    assert json.loads(json.dumps(state)).keys() == state.keys()
    defaults = {field.name: field.default for field in dataclasses.fields(control)}
    assert not [key for key, value in state.items() if key in defaults and defaults[key] == value]


def test_a_renamed_class_keeps_its_version() -> None:
    control = controls()[0]
    renamed = type("Renamed", (type(control),), {})
    fields = {field.name: getattr(control, field.name) for field in dataclasses.fields(control)}
    assert renamed(**fields).fingerprint() == control.fingerprint()


def test_an_attribute_at_its_default_changes_nothing() -> None:
    xml = (PROJECT_DIR / "examples" / "RectangleLabels.xml").read_text()
    assert version(xml) == version(
        xml.replace("<RectangleLabels ", '<RectangleLabels model_iou="0.7" model_obb="false" ')
    )
