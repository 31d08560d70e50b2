"""The comparison that the other tests rely on, since a lenient one would let everything pass."""

from __future__ import annotations

import pytest

from .truth import Box, Differences, differences, iou, region_boxes

CODE = Box("A", 10, 20, 100, 50)
SAME_PLACE = Box("B", 10, 20, 100, 50)
NEAR = Box("A", 15, 20, 100, 50)
TOO_FAR = Box("A", 25, 20, 100, 50)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param(CODE, 1.0, id="the same"),
        pytest.param(Box("A", 110, 20, 100, 50), 0.0, id="side by side"),
        pytest.param(Box("A", 300, 300, 5, 5), 0.0, id="far away"),
        pytest.param(Box("A", 60, 20, 100, 50), 1 / 3, id="half over half"),
        pytest.param(Box("A", 10, 20, 50, 25), 1 / 4, id="inside"),
    ],
)
def test_iou(other: Box, expected: float) -> None:
    assert iou(CODE, other) == pytest.approx(expected)
    assert iou(other, CODE) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        pytest.param([], [], Differences(), id="nothing on it, nothing found"),
        pytest.param([], [CODE], Differences(missed=(CODE,)), id="nothing found"),
        pytest.param([CODE], [], Differences(false=(CODE,)), id="nothing on it"),
        pytest.param([NEAR], [CODE], Differences(), id="near enough"),
        pytest.param([TOO_FAR], [CODE], Differences(missed=(CODE,), false=(TOO_FAR,)), id="too far"),
        pytest.param([SAME_PLACE], [CODE], Differences(mislabelled=(SAME_PLACE,)), id="the wrong label"),
        pytest.param([NEAR, CODE], [CODE], Differences(false=(NEAR,)), id="found twice"),
    ],
)
def test_differences(found: list[Box], truth: list[Box], expected: Differences) -> None:
    assert differences(found, truth) == expected


def test_region_boxes_are_in_pixels() -> None:
    value = {"x": 10, "y": 50, "width": 25, "height": 5, "rotation": 0, "rectanglelabels": ["A"]}
    region = {"original_width": 400, "original_height": 200, "value": value}
    assert region_boxes([region]) == [Box("A", 40, 100, 100, 10)]
    assert region_boxes([]) == []
