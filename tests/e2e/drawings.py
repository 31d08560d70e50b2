"""What is drawn on a picture, whether a region, an export, the truth or the screen says so: all are compared alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle

from .truth import pairs, true_objects

Size = tuple[int, int]
"""Width and height in pixels."""
Form = Callable[[np.ndarray], np.ndarray]
"""Makes the outline (n, 2) that a tag gives an object out of the object's four corners (4, 2)."""

LABELS = {"qr_code": "QR code", "barcode": "Barcode"}
CORNERS = ("Top left", "Top right", "Bottom right", "Bottom left")


@dataclass(frozen=True, eq=False, kw_only=True)
class Shape:
    """What one region covers: ``mask`` is (height, width) bool, of the picture's size."""

    label: str
    mask: np.ndarray

    def __repr__(self) -> str:
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return f"{self.label} within {width} x {height} at ({x}, {y})"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A key point in pixels of the picture; ``label`` is the label of its object and its own."""

    label: tuple[str, str]
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """All that is on one picture."""

    shapes: list[Shape] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)


# The forms of tags


def upright_box(corners: np.ndarray) -> np.ndarray:
    """The smallest upright box around the corners."""
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def rotated_box(corners: np.ndarray) -> np.ndarray:
    """The smallest box around the corners."""
    return np.array(cv2.boxPoints(cv2.minAreaRect(corners.astype(np.float32))))


def quadrilateral(corners: np.ndarray) -> np.ndarray:
    """The object itself."""
    return corners


def inscribed_ellipse(corners: np.ndarray) -> np.ndarray:
    """The ellipse in the smallest box around the corners."""
    centre, (width, height), degrees = cv2.minAreaRect(corners.astype(np.float32))
    return ellipse(np.array(centre), (width / 2, height / 2), degrees)


def turned(outline: np.ndarray, degrees: float) -> np.ndarray:
    """An outline (n, 2) in pixels, clockwise about (0, 0)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return outline @ np.array([[cos, sin], [-sin, cos]])


def ellipse(centre: np.ndarray, radii: tuple[float, float], degrees: float) -> np.ndarray:
    """The outline of an ellipse in pixels."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return turned(np.column_stack([np.cos(angles), np.sin(angles)]) * radii, degrees) + centre


def covered(outline: np.ndarray, size: Size) -> np.ndarray:
    """The mask of the pixels whose centres an outline (n, 2) surrounds."""
    width, height = size
    # OpenCV's coordinates are of pixel centres, here in sixteenths of a pixel.
    sixteenths = np.round((np.asarray(outline) - 0.5) * 16).astype(np.int32)
    return cv2.fillPoly(np.zeros((height, width), np.uint8), [sixteenths], 1, shift=4).astype(bool)


# Where drawings come from


def of_truth(image: str, form: Form, *, corners: bool = False) -> Drawing:
    """What a tag of this form should have on the sample image of this name; ``corners`` are wanted as points too."""
    size, objects = true_objects(image)
    named = [(LABELS[label], np.array(points)) for label, points in objects]
    return Drawing(
        shapes=[Shape(label=label, mask=covered(form(points), size)) for label, points in named],
        points=[
            Point(label=(label, corner), x=x, y=y)
            for label, points in named
            for corner, (x, y) in zip(CORNERS, points, strict=True)
            if corners
        ],
    )


def of_regions(regions: Sequence[Mapping[str, Any]]) -> Drawing:
    """What regions of one picture stand for, as Label Studio documents their values."""
    labels = {region["id"]: _label(region) for region in regions}
    drawing = Drawing()
    for region in regions:
        label, value = _label(region), region["value"]
        if label is None:
            continue  # the shape of a pair: the label beside it has the same value
        size = region["original_width"], region["original_height"]
        percent = np.array(size) / 100
        if region["type"] == "keypointlabels":
            x, y = np.array([value["x"], value["y"]]) * percent
            drawing.points.append(Point(label=(labels[region["parentID"]] or "", label), x=x, y=y))
        else:
            drawing.shapes.append(Shape(label=label, mask=_mask(value, size, percent)))
    return drawing


def _label(region: Mapping[str, Any]) -> str | None:
    names = region["value"].get(region["type"], [])
    return names[0] if names else None


def _mask(value: Mapping[str, Any], size: Size, percent: np.ndarray) -> np.ndarray:
    if "rle" in value:
        return np.reshape(decode_rle(value["rle"]), (size[1], size[0], 4))[:, :, 3] > 0
    if "points" in value:
        return covered(np.array(value["points"]) * percent, size)
    place = np.array([value["x"], value["y"]]) * percent
    if "radiusX" in value:
        radii = (value["radiusX"], value["radiusY"]) * percent
        return covered(ellipse(place, (radii[0], radii[1]), value["rotation"]), size)
    box = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * ((value["width"], value["height"]) * percent)
    return covered(turned(box, value["rotation"]) + place, size)


# Comparing them


def assert_alike(found: Drawing, expected: Drawing, *, min_iou: float, max_apart: float) -> None:
    """Every shape and every point is there once, with its label, and nothing else.

    Shapes of the same thing overlap by ``min_iou`` at least, points of the same thing are ``max_apart`` pixels apart at
    most.
    """
    overlaps = [[iou(one.mask, other.mask) for other in expected.shapes] for one in found.shapes]
    _assert_paired(found.shapes, expected.shapes, overlaps, least=min_iou)
    nearness = [
        [-float(np.hypot(one.x - other.x, one.y - other.y)) for other in expected.points] for one in found.points
    ]
    _assert_paired(found.points, expected.points, nearness, least=-max_apart)


def _assert_paired(found: list[Any], expected: list[Any], overlaps: list[list[float]], *, least: float) -> None:
    together = pairs(overlaps, least=least)
    alone = set(range(len(found))) - set(together), set(range(len(expected))) - set(together.values())
    wrong = [f"{found[i]} should be {expected[j]}" for i, j in together.items() if found[i].label != expected[j].label]
    closest = [round(max(row), 3) for row in overlaps if row]
    assert not any(alone), (
        f"not in the right place: {[found[i] for i in alone[0]]}; missed: {[expected[j] for j in alone[1]]}; "
        f"nearest to anything: {closest}"
    )
    assert not wrong, "; ".join(wrong)


def merged(drawing: Drawing) -> Drawing:
    """The same with one shape for each label, which covers what all of its shapes do."""
    masks: dict[str, np.ndarray] = {}
    for shape in drawing.shapes:
        masks[shape.label] = masks.get(shape.label, False) | shape.mask
    return Drawing(shapes=[Shape(label=label, mask=mask) for label, mask in masks.items()], points=drawing.points)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, 1 where both are empty."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0
