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
    if result.obb is None:
        boxes = upright_boxes(result)
        return np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:], np.zeros(len(boxes))])
    scale = np.array([100 / result.width, 100 / result.height, 100 / result.width, 100 / result.height])
    boxes = result.obb.astype(float)
    return np.hstack([boxes[:, :4] * scale, np.degrees(boxes[:, 4:])])


def about_centre(boxes: np.ndarray, *, aspect: float) -> np.ndarray:
    """Return rotated boxes by their centres, in numbers that Label Studio accepts.

    Args:
        boxes: (n, 5) as `rotated_boxes` returns them.
        aspect: the image's width divided by its height.

    Returns:
        (n, 5) x and y of the centre, width, height, degrees.
    """
    turned = _quarter_turns(boxes, aspect)
    return _accepted(turned[..., :2], turned)


def about_corner(boxes: np.ndarray, *, aspect: float) -> np.ndarray:
    """Return rotated boxes by the corner that Label Studio turns them about, in numbers that it accepts.

    Args:
        boxes: (n, 5) as `rotated_boxes` returns them.
        aspect: the image's width divided by its height. Percent of a wide image are not square, so a rotation in
            percent would be wrong.

    Returns:
        (n, 5) x and y of the rotated top-left corner, width, height, degrees.
    """
    turned = _quarter_turns(boxes, aspect)
    x, y, width, height, degrees = np.moveaxis(turned, -1, 0)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # From the centre to the corner, in hundredths of the image's height in both directions.
    right, down = -width / 2 * aspect, -height / 2
    corners = np.stack([x + (right * cos - down * sin) / aspect, y + right * sin + down * cos], axis=-1)
    return _accepted(corners, turned)


def _quarter_turns(boxes: np.ndarray, aspect: float) -> np.ndarray:
    """Return (4, n, 5) boxes: as they are, and by one, two and three right angles on, which are the same boxes."""
    x, y, width, height, degrees = boxes.T
    across, along = height / aspect, width * aspect
    turns = []
    for quarter in range(4):
        sides = (across, along) if quarter % 2 else (width, height)
        angle = degrees + 90 * quarter
        turns.append(np.column_stack([x, y, *sides, np.where(angle > 180, angle - 360, angle)]))
    return np.stack(turns)


def _accepted(places: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Return (n, 5) of each box the turn whose numbers are best: none above 100 %, and its place in the image.

    Label Studio refuses numbers above 100: in an upright image a long box that stands has a width of more, unless it is
    turned. Where no turn does, the box is cut off. A place in the image can be taken hold of.

    Args:
        places: (4, n, 2) x and y that go with the turns.
        turned: (4, n, 5) the same boxes.
    """
    percent = np.concatenate([places, turned[..., 2:4]], axis=-1)
    refused, outside = np.maximum(percent - 100, 0), np.maximum(-percent, 0)
    best = (refused * 1000 + outside).sum(-1).round(4).argmin(0)
    boxes = np.arange(turned.shape[1])
    return np.column_stack([np.minimum(percent[best, boxes], 100), turned[best, boxes, 4]])
