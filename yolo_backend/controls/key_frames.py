"""Where an object was, frame by frame, to the few key frames between which the editor draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FIRST_LOOK = 64


@dataclass(frozen=True)
class KeyFrame:
    """A box at a frame number. Where it's not enabled, the object is seen there for the last time before it's gone."""

    frame: int
    box: tuple[float, float, float, float]
    """Left, top, width, height, in percent of the picture."""
    enabled: bool


def key_frames(shown: np.ndarray, boxes: np.ndarray, *, frames: int, max_gap: int, tolerance: float) -> list[KeyFrame]:
    """Return the key frames of one object.

    Args:
        shown: (n, 2) int, the first and the last frame number of each picture that it was seen on, in order.
        boxes: (n, 4) left, top, width, height on these pictures, in percent.
        frames: how many the video has.
        max_gap: an object that is missing for more frames is switched off and on again.
        tolerance: in percent of the picture; between key frames no edge of the box that the editor draws is farther
            from where it was, and neither its width nor its height is off by more. 0 keeps every picture.
    """
    inside = shown[:, 0] <= frames
    shown, boxes = np.minimum(shown[inside], frames), boxes[inside]
    if not len(shown):
        return []
    missing = shown[1:, 0] - shown[:-1, 1] - 1
    starts = np.flatnonzero(missing > max_gap) + 1
    keys = []
    for first, end in zip([0, *starts], [*starts, len(shown)], strict=True):
        numbers, seen = _points(shown[first:end], boxes[first:end])
        kept = simplify(numbers, seen, tolerance=tolerance)
        # The editor goes on drawing the last box, so it's switched off unless it's there until the end.
        until_the_end = numbers[-1] == frames
        for index in kept:
            left, top, width, height = seen[index].tolist()
            enabled = bool(index != kept[-1] or until_the_end)
            keys.append(KeyFrame(frame=int(numbers[index]), box=(left, top, width, height), enabled=enabled))
    return keys


def simplify(numbers: np.ndarray, boxes: np.ndarray, *, tolerance: float) -> np.ndarray:
    """Return the indices to keep, so that boxes interpolated in between have no edge or side off by more than ``tolerance``.

    From each kept one the next is the farthest that a straight line reaches. The first and the last are always kept.

    Args:
        numbers: (n,) rising frame numbers.
        boxes: (n, 4) left, top, width, height.
        tolerance: in the boxes' unit; 0 keeps all.
    """
    if tolerance <= 0 or len(numbers) <= 2:
        return np.arange(len(numbers))
    values = np.hstack([boxes, boxes[:, :2] + boxes[:, 2:]])
    kept = [0]
    while kept[-1] < len(numbers) - 1:
        kept.append(_farthest(numbers, values, kept[-1], tolerance))
    return np.array(kept)


def _points(shown: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frame numbers and boxes; a picture that stays for several frames has its box at the first and the last."""
    numbers = shown.ravel()
    different = np.ones(len(numbers), bool)
    different[1::2] = shown[:, 1] != shown[:, 0]
    return numbers[different], np.repeat(boxes, 2, axis=0)[different]


def _farthest(numbers: np.ndarray, values: np.ndarray, start: int, tolerance: float) -> int:
    """Return the farthest index to which a line from ``start`` passes all in between within ``tolerance``."""
    look = _FIRST_LOOK
    while True:
        ahead = slice(start + 1, start + 1 + look)
        distance = (numbers[ahead] - numbers[start])[:, None]
        rise = values[ahead] - values[start]
        # Slopes that pass each point, and all points up to it.
        least = np.maximum.accumulate((rise - tolerance) / distance)
        most = np.minimum.accumulate((rise + tolerance) / distance)
        slopes = rise / distance
        passes = np.ones(len(slopes), bool)
        passes[1:] = ((slopes[1:] >= least[:-1]) & (slopes[1:] <= most[:-1])).all(axis=1)
        closed = bool((least[-1] > most[-1]).any())
        if closed or start + 1 + look >= len(numbers):
            return start + 1 + int(np.flatnonzero(passes)[-1])
        look *= 2
