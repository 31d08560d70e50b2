"""Interactive mode answers the newest prompt, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter.brush import mask2rle

from yolo_backend.pipeline.interactive import region_under_prompt

WIDTH, HEIGHT = 800, 400


def region(kind: str, value: dict[str, Any], label: str = "Cat", **more: Any) -> dict[str, Any]:
    return {
        "id": "predicted", "from_name": "n", "to_name": "i", "type": kind, "original_width": WIDTH,
        "original_height": HEIGHT, "image_rotation": 0, "score": 0.9, "value": {**value, kind: [label]}, **more,
    }  # fmt: skip


def box(x: float, y: float, width: float, height: float, rotation: float = 0, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return region("rectanglelabels", value, **more)


def ellipse(x: float, y: float, across: float, down: float, rotation: float = 0) -> dict[str, Any]:
    return region("ellipselabels", {"x": x, "y": y, "radiusX": across, "radiusY": down, "rotation": rotation})


def polygon(*points: tuple[float, float]) -> dict[str, Any]:
    return region("polygonlabels", {"points": [list(point) for point in points], "closed": True})


def brush(left: int, right: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[100:300, left:right] = 255
    return region("brushlabels", {"format": "rle", "rle": mask2rle(mask)})


def point(x: float, y: float, label: str = "Cat", **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "labels": [label]}
    return {**region("keypointlabels", value, label), "id": "prompt", "is_positive": True, **more}


def two_tags(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    value = {key: number for key, number in drawn["value"].items() if key != "rectanglelabels"}
    shape = drawn | {"type": "rectangle", "value": value}
    return [shape, shape | {"type": "labels", "from_name": "l", "value": {**value, "labels": ["Cat"]}}]


LEFT, RIGHT = box(10, 10, 30, 30, id="left"), box(60, 10, 30, 30, id="right")


@pytest.mark.parametrize(
    ("found", "drawn", "answer"),
    [
        ([], [point(20, 20)], None),
        ([LEFT, RIGHT], [], None),
        ([LEFT, RIGHT], [point(20, 20)], LEFT),
        ([LEFT, RIGHT], [point(70, 20)], RIGHT),
        ([LEFT, RIGHT], [point(50, 20)], None),
        ([LEFT, RIGHT], [point(20, 20, is_positive=False)], None),
        ([LEFT, RIGHT], [point(20, 20), point(70, 20)], RIGHT),
        ([LEFT, RIGHT], [point(20, 20, "Dog")], None),
        ([LEFT, RIGHT], [point(20, 20, item_index=1)], None),
        ([LEFT, LEFT | {"id": "second", "item_index": 1}], [point(20, 20, item_index=1)], LEFT | {"item_index": 1}),
        ([LEFT, RIGHT], [box(11, 9, 30, 30)], LEFT),
        ([LEFT, RIGHT], [LEFT, box(58, 8, 34, 34)], RIGHT),
        ([LEFT, RIGHT], [box(60, 60, 30, 30)], None),
        ([box(0, 0, 100, 100), LEFT], [point(20, 20)], LEFT),
        ([box(50, 50, 20, 20, 90)], [point(45, 60)], box(50, 50, 20, 20, 90)),
        ([box(50, 50, 20, 20, 90)], [point(60, 60)], None),
        ([brush(100, 300)], [point(25, 50)], brush(100, 300)),
        ([brush(100, 300)], [point(50, 50)], None),
        (
            [polygon((10, 10), (30, 10), (20, 40)), {**ellipse(70, 70, 10, 10), "id": "e"}],
            [point(70, 75)],
            ellipse(70, 70, 10, 10),
        ),
        ([region("choices", {})], [point(20, 20)], None),
        ([point(20, 20, id="found")], [point(20, 20)], None),
    ],
)
def test_the_region_under_the_newest_prompt(
    found: list[dict[str, Any]], drawn: list[dict[str, Any]], answer: dict[str, Any] | None
) -> None:
    answered = region_under_prompt(found, drawn)
    assert [one | {"id": ""} for one in answered] == ([] if answer is None else [answer | {"id": ""}])
    assert not {one["id"] for one in answered} & {one["id"] for one in [*found, *drawn]}


@pytest.mark.parametrize(
    "prompt",
    [
        None, "region", [], {}, {"type": "rectanglelabels"}, {"value": 1, "type": "rectanglelabels"},
        region("rectanglelabels", {}), box(10, 10, 30, 30) | {"original_width": None}, box(10, 10, 0, 0),
        box(float("nan"), 10, 30, 30), polygon(), polygon((1, 1)), box(10, 10, 30, 30) | {"type": ["a", "list"]},
        box(1e308, 10, 1e308, 30), box(10, 10, 30, 30) | {"original_width": 10**400},
        region("rectanglelabels", {"x": "10", "y": 10, "width": 30, "height": 30, "rotation": 0}),
        region("brushlabels", {"format": "rle", "rle": [1, 2, 3]}), region("choices", {}),
        region("brushlabels", {"format": "rle", "rle": [-1, 2, 3]}),
        {**box(10, 10, 30, 30), "value": {"x": 10, "rectanglelabels": [{}]}}, point(float("nan"), 1), point(1e400, 1),
        {**point(1, 1), "value": {"x": "here", "keypointlabels": ["Cat"]}},
    ],
)  # fmt: skip
def test_what_is_no_prompt_harms_nothing(prompt: object) -> None:
    assert region_under_prompt([box(10, 10, 30, 30), region("choices", {})], [prompt]) == []


def test_shape_and_label_in_two_tags_go_together() -> None:
    answered = region_under_prompt([*two_tags(LEFT), *two_tags(RIGHT)], two_tags(box(59, 10, 30, 30)))
    assert [one["type"] for one in answered] == ["rectangle", "labels"]
    assert len({one["id"] for one in answered}) == 1
    assert {one["value"]["x"] for one in answered} == {60}
