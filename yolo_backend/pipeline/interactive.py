"""What people have drawn already, in interactive mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from yolo_backend.controls.outlines import label_of, shape_of
from yolo_backend.tasks import Region

SAME = 0.9
"""Intersection over union above which two regions are the same."""
GRID = 512
"""Cells along each side of the grid on which two outlines are compared."""


def drop_already_annotated(regions: Sequence[Region], drawn: Sequence[Any]) -> list[Region]:
    """Leave out regions that are drawn already: the same label, and nearly the same area.

    What belongs to a region that is left out (its key points) is told to belong to the drawn one.

    Args:
        regions: as predicted.
        drawn: what the editor holds, from outside: anything that is no region is passed over.
    """
    known = [
        (label, shape, region)
        for region in drawn
        if isinstance(region, Mapping) and (label := label_of(region)) and (shape := shape_of(region)) is not None
    ]
    replaced: dict[str, str] = {}
    for region in regions:
        label, shape = label_of(region), shape_of(region)
        if label is None or shape is None:
            continue
        for other, other_shape, annotation in known:
            if label == other and _overlap(shape, other_shape) > SAME:
                replaced[region["id"]] = str(annotation.get("id"))
                break
    # Shape and label may be two regions with one id.
    kept = [region for region in regions if region["id"] not in replaced]
    return [
        {**region, "parentID": replaced[region["parentID"]]} if region.get("parentID") in replaced else region
        for region in kept
    ]


def _overlap(shape: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two outlines or two masks; 0 for one of each."""
    if shape.dtype != other.dtype:
        return 0.0
    if shape.dtype != bool:
        both = np.concatenate([shape, other])
        low, size = both.min(0), np.ptp(both, axis=0)
        if not (size > 0).all() or not np.isfinite(both).all():
            return 0.0
        shape, other = (_cells((outline - low) / size) for outline in (shape, other))
    if shape.shape != other.shape:
        return 0.0
    union = np.count_nonzero(shape | other)
    return np.count_nonzero(shape & other) / union if union else 0.0


def _cells(outline: np.ndarray) -> np.ndarray:
    cells = np.zeros((GRID, GRID), np.uint8)
    cv2.fillPoly(cells, [np.round(outline * (GRID - 1)).astype(np.int32)], 1)
    return cells > 0
