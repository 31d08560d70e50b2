"""The sample images with the boxes that are really on them, and how far found boxes are from these."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .installation import REPOSITORY

IMAGES = REPOSITORY / "examples" / "images"

# Boxes that overlap less than this are not of the same object.
MIN_IOU = 0.8


@dataclass(frozen=True)
class Box:
    """An upright box in pixels of its image; (x, y) is the top-left corner."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What keeps found boxes from being the true ones."""

    missed: tuple[Box, ...] = ()
    mislabelled: tuple[Box, ...] = ()
    false: tuple[Box, ...] = ()


def sample_images() -> list[Path]:
    """The sample images that have their truth told, in the order of their names."""
    return [IMAGES / name for name in sorted(_scenes())]


def true_boxes(image: str, labels: Mapping[str, str]) -> list[Box]:
    """The boxes on the sample image of this name, with the label that stands for each object's class."""
    return [Box(labels[thing["label"]], *thing["box"]) for thing in _scenes()[image]["objects"]]


def true_objects(image: str) -> tuple[tuple[int, int], list[tuple[str, list[list[float]]]]]:
    """Width and height of the sample image of this name, and the class and the four corners of each object, in pixels.

    Corners go around from the top left one of the code itself, however it lies.
    """
    scene = _scenes()[image]
    return (scene["width"], scene["height"]), [(thing["label"], thing["corners"]) for thing in scene["objects"]]


def region_boxes(regions: Sequence[Mapping[str, Any]]) -> list[Box]:
    """The boxes of rectangle regions, whose lengths are percent of the image."""
    boxes = []
    for region in regions:
        value, width, height = region["value"], region["original_width"], region["original_height"]
        (label,) = value["rectanglelabels"]
        x, w = (value[side] * width / 100 for side in ("x", "width"))
        y, h = (value[side] * height / 100 for side in ("y", "height"))
        boxes.append(Box(label, x, y, w, h))
    return boxes


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 where they don't touch."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one.width * one.height + other.width * other.height - both)


def differences(found: Sequence[Box], truth: Sequence[Box], *, min_iou: float = MIN_IOU) -> Differences:
    """Pair found boxes with true ones, the best overlap first and each once, and give what doesn't pair up.

    A box in the right place with the wrong label is mislabelled, neither missed nor false.
    """
    together = pairs([[iou(box, true) for true in truth] for box in found], least=min_iou)
    return Differences(
        missed=tuple(true for j, true in enumerate(truth) if j not in together.values()),
        mislabelled=tuple(found[i] for i, j in together.items() if found[i].label != truth[j].label),
        false=tuple(box for i, box in enumerate(found) if i not in together),
    )


def pairs(overlaps: Sequence[Sequence[float]], *, least: float) -> dict[int, int]:
    """Pair rows with columns, the best overlap first and each once, none below ``least``: a column for each paired row."""
    best_first = sorted(
        ((overlap, i, j) for i, row in enumerate(overlaps) for j, overlap in enumerate(row)), reverse=True
    )
    paired: dict[int, int] = {}
    for overlap, i, j in best_first:
        if overlap >= least and i not in paired and j not in paired.values():
            paired[i] = j
    return paired


def _scenes() -> dict[str, Any]:
    scenes: dict[str, Any] = json.loads((IMAGES / "truth.json").read_text())
    return scenes
