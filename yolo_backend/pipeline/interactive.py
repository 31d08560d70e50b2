"""Interactive mode: the region that answers what a person has just drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import cv2
import numpy as np

from yolo_backend.controls.outlines import label_of, shape_of
from yolo_backend.tasks import Region

LEAST_OVERLAP = 0.3
"""Intersection over union of the boxes, from which on a region is what a drawn box was meant for."""


def region_under_prompt(regions: Sequence[Region], drawn: Sequence[Any]) -> list[Region]:
    """Return the one region that lies under the newest prompt and carries its label; nothing if there is none.

    The editor removes the prompt when the answer is accepted or rejected, and replaces a region of its own whose id comes
    back. So nothing but what was asked for is answered, and never under an id that was used before.

    Args:
        regions: as predicted, the surest first.
        drawn: what the editor sends, from outside, the newest last.

    Returns:
        One region, or two with one id where shape and label are two tags.
    """
    prompt = drawn[-1] if drawn and isinstance(drawn[-1], Mapping) else None
    label = label_of(prompt) if prompt is not None else None
    if prompt is None or label is None:
        return []
    best, best_fit = None, 0.0
    for region in regions:
        shape = shape_of(region) if label_of(region) == label else None
        if shape is None:
            continue
        with np.errstate(all="ignore"):  # numbers from outside may be of any size
            fit = _fit(shape, prompt)
        if fit > best_fit:
            best, best_fit = region["id"], fit
    fresh = uuid4().hex[:10]
    return [region | {"id": fresh} for region in regions if region["id"] == best]


def _fit(shape: np.ndarray, prompt: Mapping[str, Any]) -> float:
    """Return how well a shape answers a prompt: 0 for not at all."""
    try:
        box = _box(shape)
        wanted = shape_of(prompt)
        if wanted is not None:
            overlap = _overlap(box, _box(wanted))
            return overlap if overlap >= LEAST_OVERLAP else 0.0
        if "height" in prompt["value"] or prompt.get("is_positive") is False:
            return 0.0
        point = np.array([float(prompt["value"]["x"]), float(prompt["value"]["y"])])
        if shape.dtype == bool:
            row, column = (point[::-1] / 100 * shape.shape).astype(int)
            inside = bool(shape[min(row, shape.shape[0] - 1), min(column, shape.shape[1] - 1)])
        else:
            inside = cv2.pointPolygonTest(shape.astype(np.float32), (float(point[0]), float(point[1])), False) >= 0
        # Of several the smallest: the others are around it.
        return 1 / (1 + float((box[2] - box[0]) * (box[3] - box[1]))) if inside else 0.0
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return 0.0


def _box(shape: np.ndarray) -> np.ndarray:
    """Return the box (left, top, right, bottom) around an outline or a mask, in percent of the image."""
    if shape.dtype == bool:
        rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
        edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return edges / np.tile(shape.shape[::-1], 2) * 100
    return np.concatenate([shape.min(0), shape.max(0)])


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    either = float(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])) - both
    return both / either if np.isfinite(either) and either > 0 else 0.0
