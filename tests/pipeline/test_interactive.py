"""What people have drawn already is not predicted once more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter.brush import mask2rle

from yolo_backend.pipeline.interactive import drop_already_annotated

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


@pytest.mark.parametrize(
    ("predicted", "drawn", "same"),
    [
        (box(10, 10, 30, 30), box(10, 10, 30, 30), True),
        (box(10, 10, 30, 30), box(10.5, 10, 30, 30), True),
        (box(10, 10, 30, 30), box(12, 10, 30, 30), False),
        (box(10, 10, 0.5, 0.5), box(10.01, 10, 0.5, 0.5), True),
        (box(10, 10, 0.5, 0.5), box(10.1, 10, 0.5, 0.5), False),
        (box(10, 10, 30, 30), box(10, 10, 30, 30, label="Dog"), False),
        (box(10, 10, 30, 30), box(10, 10, 30, 30, to_name="other"), False),
        (box(10, 10, 30, 30), box(10, 10, 30, 30, item_index=1), False),
        (box(10, 10, 30, 30), box(10, 10, 30, 30, from_name="other tag"), True),
        # 20 x 20 % are 160 x 80 pixels; turned by 90 degrees about its corner it is as wide as 80 pixels.
        (box(50, 50, 20, 20, 90), box(40, 50, 10, 40), True),
        (box(50, 50, 20, 20, 90), box(30, 50, 20, 20), False),
        (box(50, 50, 20, 20, 45), box(50, 50, 20, 20), False),
        (ellipse(50, 50, 10, 10), ellipse(50, 50, 10, 10.3), True),
        (ellipse(50, 50, 10, 10), ellipse(50, 50, 5, 20, 90), True),
        (ellipse(50, 50, 10, 10), ellipse(53, 50, 10, 10), False),
        (polygon((10, 10), (30, 10), (20, 40)), polygon((20, 40), (10, 10), (30, 10)), True),
        (polygon((10, 10), (30, 10), (20, 40)), polygon((10, 10), (30, 10), (30, 40)), False),
        (brush(100, 300), brush(102, 300), True),
        (brush(100, 300), brush(150, 300), False),
        (brush(100, 300), box(12.5, 25, 25, 50), False),
    ],
)
def test_the_same_label_in_the_same_place(predicted: dict[str, Any], drawn: dict[str, Any], same: bool) -> None:
    assert drop_already_annotated([predicted], [drawn | {"id": "drawn"}]) == ([] if same else [predicted])


@pytest.mark.parametrize(
    "drawn",
    [
        None, "region", [], {}, {"type": "rectanglelabels"}, {"value": 1, "type": "rectanglelabels"},
        region("rectanglelabels", {}), box(10, 10, 30, 30) | {"original_width": None}, box(10, 10, 0, 0),
        box(float("nan"), 10, 30, 30), polygon(), polygon((1, 1)),
        region("rectanglelabels", {"x": "10", "y": 10, "width": 30, "height": 30, "rotation": 0}),
        region("brushlabels", {"format": "rle", "rle": [1, 2, 3]}), region("choices", {}),
        {**box(10, 10, 30, 30), "value": {"x": 10, "rectanglelabels": [{}]}},
    ],
)  # fmt: skip
def test_what_is_no_region_harms_nothing(drawn: object) -> None:
    predicted = [box(10, 10, 30, 30), region("choices", {})]
    assert drop_already_annotated(predicted, [drawn]) == predicted


def test_key_points_of_a_drawn_box_belong_to_it() -> None:
    point = region("keypointlabels", {"x": 20, "y": 20, "width": 1}, id="point", parentID="predicted")
    other = region("keypointlabels", {"x": 20, "y": 20, "width": 1}, id="other", parentID="another")
    kept = drop_already_annotated([box(10, 10, 30, 30), point, other], [box(10, 10, 30, 30, id="drawn")])
    assert kept == [point | {"parentID": "drawn"}, other]


def test_shape_and_label_in_two_tags_go_together() -> None:
    shape = box(10, 10, 30, 30) | {"type": "rectangle", "value": {"x": 10, "y": 10, "width": 30, "height": 30}}
    label = shape | {"type": "labels", "from_name": "l", "value": {**shape["value"], "labels": ["Cat"]}}
    drawn = [one | {"id": "drawn"} for one in (shape, label)]
    assert drop_already_annotated([shape, label], drawn) == []
