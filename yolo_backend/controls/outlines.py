"""What a region says and covers, read back from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def label_of(region: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what a region says it is, and on which picture; None for one without labels."""
    value, kind = region.get("value"), region.get("type")
    if not isinstance(value, Mapping) or not isinstance(kind, str):
        return None
    labels = value.get(kind)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return None
    return region.get("to_name"), region.get("item_index") or 0, tuple(labels)


def shape_of(region: Mapping[str, Any]) -> np.ndarray | None:
    """Return what a region covers: an outline (n, 2) in percent, or a mask (height, width) bool; None for neither."""
    value = region["value"]
    try:
        width, height = int(region["original_width"]), int(region["original_height"])
        if "rle" in value:
            # Imported here since it takes a second, which the start should not wait for.
            from label_studio_sdk.converter.brush import decode_rle

            return decode_rle(value["rle"]).reshape(height, width, 4)[:, :, 3] > 127
        return _outline(value, width, height)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None


def _outline(value: Mapping[str, Any], width: int, height: int) -> np.ndarray | None:
    """Return the outline (n, 2) of a shape in percent of a picture of ``width`` x ``height`` pixels."""
    if "points" in value:
        points = np.array(value["points"], dtype=float).reshape(-1, 2)
        return points if len(points) >= 3 else None
    if "radiusX" in value:
        turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        shape = np.stack([value["radiusX"] * np.cos(turn), value["radiusY"] * np.sin(turn)], axis=1)
    elif "height" in value:
        shape = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [value["width"], value["height"]]
    else:
        return None
    # Rotation is in pixels: percent of a picture that isn't square would be sheared.
    angle = np.radians(float(value.get("rotation") or 0))
    pixels = shape * [width, height]
    turned = pixels @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turned / [width, height] + [value["x"], value["y"]]
