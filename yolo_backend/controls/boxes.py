"""Boxes in Label Studio's terms, whole arrays at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from yolo_backend.inference import Detections


def upright_boxes(result: Detections) -> np.ndarray:
    """Return the (n, 4) boxes of a result in percent of the image: left, top, width, height, within the image."""
    width, height = result.width, result.height
    percent = np.clip(result.boxes.astype(float) / (width, height, width, height), 0, 1) * 100
    return np.hstack([percent[:, :2], percent[:, 2:] - percent[:, :2]])


def rotated_boxes(result: Detections) -> np.ndarray:
    """Return the (n, 5) boxes of a result: centre x, centre y, width, height in percent of the image, degrees.

    Width and height are percent of the image's width and height, as if the box were not rotated: this is how Label
    Studio keeps them. The rotation is clockwise, about the centre.
    """
    if result.rotated is None:
        boxes = upright_boxes(result)
        return np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:], np.zeros(len(boxes))])
    scale = np.array([100 / result.width, 100 / result.height, 100 / result.width, 100 / result.height])
    boxes = result.rotated.astype(float)
    return np.hstack([boxes[:, :4] * scale, np.degrees(boxes[:, 4:])])


def about_corner(boxes: np.ndarray, *, aspect: float) -> np.ndarray:
    """Turn boxes given by their centres into boxes given by the corner that Label Studio rotates them about.

    Args:
        boxes: (n, 5) as `rotated_boxes` returns them.
        aspect: the image's width divided by its height. Percent of a wide image are not square, so a rotation in
            percent would be wrong.

    Returns:
        (n, 5) x and y of the rotated top-left corner, width, height, degrees.
    """
    x, y, width, height, degrees = boxes.T
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # From the centre to the corner, in units of a hundredth of the image's height in both directions.
    right, down = -width / 2 * aspect, -height / 2
    across, along = (right * cos - down * sin) / aspect, right * sin + down * cos
    # Turned by half a circle it is the same box with the opposite corner first. Where the corner is outside of the image,
    # the one nearer to its middle is taken, and kept to 100 %: Label Studio refuses what is beyond.
    first, opposite = np.stack([x + across, y + along]), np.stack([x - across, y - along])
    outside = ((first < 0) | (first > 100)).any(0)
    half_turn = outside & (np.hypot(*(first - 50)) > np.hypot(*(opposite - 50)))
    sign = np.where(half_turn, -1, 1)
    degrees = np.where(half_turn, degrees - np.sign(degrees + 1e-9) * 180, degrees)
    corner = np.minimum(np.column_stack([x + sign * across, y + sign * along]), 100)
    return np.column_stack([corner, width, height, degrees])
