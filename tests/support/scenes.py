"""Detections that we choose: trackers are tested without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolo_backend.inference import Detections

NAMES = {0: "car", 1: "truck", 2: "tree"}
SIZE = 400
BLANK = np.zeros((SIZE, SIZE, 3), np.uint8)

Seen = tuple[float, float, float, float, float, int]
"""Left, top, right, bottom in pixels, score, class."""


def result(*seen: Seen, pixels: np.ndarray = BLANK) -> Detections:
    found = rows(*seen)
    height, width = pixels.shape[:2]
    return Detections(
        names=NAMES, width=width, height=height, boxes=found[:, :4], scores=found[:, 4], classes=found[:, 5].astype(int)
    )


def rows(*seen: Seen) -> np.ndarray:
    """(n, 6) boxes with their scores and classes, as trackers take them."""
    return np.array(seen or np.zeros((0, 6)), np.float32)


def moving(frames: int, *, start: float, step: float, top: float, score: float = 0.9, kind: int = 0) -> Sequence[Seen]:
    """A box of 60 by 40 pixels that moves to the right."""
    lefts = [start + step * frame for frame in range(frames)]
    return [(left, top, left + 60, top + 40, score, kind) for left in lefts]
