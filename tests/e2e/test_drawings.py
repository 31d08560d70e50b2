"""The comparison of drawings, since a lenient one would let everything pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .drawings import Drawing, Point, Shape, assert_alike, covered, of_regions, rotated_box

SIZE = (200, 100)
BOX = np.array([[20, 10], [80, 10], [80, 50], [20, 50]])


def shape(label: str = "A", *, right: float = 0) -> Shape:
    return Shape(label=label, mask=covered(BOX + (right, 0), SIZE))


def point(label: str = "A", *, right: float = 0) -> Point:
    return Point(label=("", label), x=20 + right, y=10)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(Drawing(), Drawing(), id="nothing"),
        pytest.param(Drawing(shapes=[shape()]), Drawing(shapes=[shape()]), id="the same"),
        pytest.param(Drawing(shapes=[shape(right=5)]), Drawing(shapes=[shape()]), id="near enough"),
        pytest.param(
            Drawing(shapes=[shape("B", right=90), shape()]),
            Drawing(shapes=[shape(), shape("B", right=90)]),
            id="another order",
        ),
        pytest.param(Drawing(points=[point(right=3)]), Drawing(points=[point()]), id="a point near enough"),
    ],
)
def test_alike(found: Drawing, expected: Drawing) -> None:
    assert_alike(found, expected, min_iou=0.8, max_apart=4)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        pytest.param(Drawing(), Drawing(shapes=[shape()]), "missed", id="nothing found"),
        pytest.param(Drawing(shapes=[shape()]), Drawing(), "not in the right place", id="nothing on it"),
        pytest.param(Drawing(shapes=[shape(), shape()]), Drawing(shapes=[shape()]), "not in the right", id="twice"),
        pytest.param(Drawing(shapes=[shape(right=15)]), Drawing(shapes=[shape()]), "missed", id="too far"),
        pytest.param(Drawing(shapes=[shape("B")]), Drawing(shapes=[shape()]), "B .* should be A", id="the wrong label"),
        pytest.param(Drawing(points=[point(right=5)]), Drawing(points=[point()]), "missed", id="a point too far"),
        pytest.param(Drawing(points=[point("B")]), Drawing(points=[point()]), "should be", id="the wrong point"),
    ],
)
def test_not_alike(found: Drawing, expected: Drawing, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_alike(found, expected, min_iou=0.8, max_apart=4)


def region(kind: str, **value: Any) -> dict[str, Any]:
    labelled = {**value, kind: ["A"]}
    return {"id": "1", "type": kind, "original_width": 200, "original_height": 100, "value": labelled}


# Half a turn of a box about its corner (80, 50) puts the opposite one at (20, 10).
HALF_TURN = {"x": 40, "y": 50, "width": 30, "height": 40, "rotation": 180}
# A quarter of a turn about (80, 10); percent of a picture that isn't square are not turned as they are.
QUARTER_TURN = {"x": 40, "y": 10, "width": 20, "height": 60, "rotation": 90}


@pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(region("rectanglelabels", x=10, y=10, width=30, height=40, rotation=0), id="upright box"),
        pytest.param(region("rectanglelabels", **HALF_TURN), id="half a turn"),
        pytest.param(region("rectanglelabels", **QUARTER_TURN), id="a quarter of a turn"),
        pytest.param(region("labels", x=10, y=10, width=30, height=40, rotation=0), id="a box of two tags"),
        pytest.param(
            region("polygonlabels", points=[[10, 10], [40, 10], [40, 50], [10, 50]], closed=True), id="polygon"
        ),
    ],
)
def test_regions_cover_what_they_say(drawn: dict[str, Any]) -> None:
    assert_alike(of_regions([drawn]), Drawing(shapes=[shape()]), min_iou=0.99, max_apart=0)


def test_an_ellipse_covers_its_share_of_the_box() -> None:
    drawn = of_regions([region("ellipselabels", x=25, y=30, radiusX=15, radiusY=20, rotation=0)])
    mask = drawn.shapes[0].mask
    assert not (mask & ~covered(BOX, SIZE)).any()
    assert mask.sum() == pytest.approx(np.pi / 4 * covered(BOX, SIZE).sum(), rel=0.02)


def test_key_points_know_their_objects() -> None:
    box = region("rectanglelabels", x=10, y=10, width=30, height=40, rotation=0)
    corner = {**region("keypointlabels", x=10, y=10, width=1), "id": "2", "parentID": "1"}
    assert of_regions([box, corner]).points == [Point(label=("A", "A"), x=20, y=10)]


def test_a_rotated_box_fits_tightly() -> None:
    tilted = np.array([[50, 10], [90, 50], [70, 70], [30, 30]])
    assert_alike(
        Drawing(shapes=[Shape(label="A", mask=covered(rotated_box(tilted), SIZE))]),
        Drawing(shapes=[Shape(label="A", mask=covered(tilted, SIZE))]),
        min_iou=0.99,
        max_apart=0,
    )
