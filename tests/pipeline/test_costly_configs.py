"""Labeling configs at the limits are planned, and get their version, while somebody waits for `/setup`."""

from __future__ import annotations

import time

import pytest

from yolo_backend.inference import WeightsStore
from yolo_backend.pipeline.plan import PROBLEMS, make_plan
from yolo_backend.settings import Settings

SECONDS = 3.0
"""Of the processor; 0.5 is what is promised, and 0.1 to 0.4 is what they take."""

IMAGE = '<Image name="image" value="$image"/>'
LABELS = 4999


def labels(count: int = LABELS, attributes: str = "") -> str:
    return "".join(f'<Label value="label {number}" {attributes.format(n=number)}/>' for number in range(count))


def beside(inside: str, *tags: str, on: str = IMAGE) -> str:
    return f'<View>{on}<Labels name="labels" toName="image">{inside}</Labels>{"".join(tags)}</View>'


def shapes(tag: str, count: int, attributes: str = "") -> str:
    return "".join(
        f'<{tag} name="{tag}-{number}" toName="image" {attributes.format(n=number)}/>' for number in range(count)
    )


def near_misses(count: int) -> str:
    return " ".join(f'model_score_treshold{{n}}x{number}="0.5"' for number in range(count))


@pytest.mark.parametrize(
    ("xml", "controls", "problems"),
    [
        pytest.param(beside(labels(), shapes("Rectangle", 99)), 99, 0, id="labels that many shapes share"),
        pytest.param(
            beside(labels(), shapes("Rectangle", 99, 'model_score_threshold="0.{n:02}1"')),
            99,
            0,
            id="each with its threshold",
        ),
        pytest.param(beside(labels(), shapes("KeyPoint", 99)), 99, 0, id="points that many tags share"),
        pytest.param(beside(labels(), shapes("KeyPoint", 50), shapes("Rectangle", 49)), 98, 0, id="points and boxes"),
        pytest.param(
            beside(labels(attributes='model_index="0"'), shapes("KeyPoint", 99)), 99, PROBLEMS + 1, id="the same point"
        ),
        pytest.param(
            beside(labels(attributes='model_score_threshold="{n}"'), shapes("Polygon", 99)),
            99,
            PROBLEMS + 1,
            id="thresholds that can't be used",
        ),
        pytest.param(
            beside(labels(attributes='predicted_value{n}="a" model_score_treshold{n}="1"'), shapes("Ellipse", 99)),
            99,
            PROBLEMS + 1,
            id="misspelt attributes of labels",
        ),
        pytest.param(
            beside(labels(1), shapes("Rectangle", 99, near_misses(150))),
            99,
            PROBLEMS + 1,
            id="misspelt attributes of tags",
        ),
        pytest.param(
            beside(labels(1), shapes("KeyPoint", 20, near_misses(20)), shapes("Rectangle", 20, near_misses(20))),
            39,
            PROBLEMS + 1,
            id="misspelt attributes of points and boxes",
        ),
        pytest.param(
            beside(labels(), shapes("VideoRectangle", 99), on='<Video name="image" value="$video"/>'),
            99,
            0,
            id="videos",
        ),
        pytest.param(f"<View>{IMAGE}{'<a/>' * 240_000}</View>", 0, 1, id="tags that are nobody's"),
    ],
)
def test_a_labeling_config_at_the_limits_is_planned_at_once(xml: str, controls: int, problems: int) -> None:
    weights = WeightsStore(Settings())
    started = time.process_time()
    plan = make_plan(xml, Settings())
    version = plan.model_version(weights)
    assert time.process_time() - started < SECONDS
    assert len(plan.controls) == controls
    assert len(plan.problems) == problems
    assert version == make_plan(xml, Settings()).model_version(weights)


def test_a_tag_of_very_many_attributes_is_refused() -> None:
    plan = make_plan(beside(labels(1), shapes("Rectangle", 1, near_misses(300))), Settings())
    assert plan.controls == ()
    assert plan.problems == ("the labeling config has a <Rectangle> with 302 attributes, more than 200",)
