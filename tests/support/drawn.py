"""What Label Studio's editor draws for the key frames of a region, by the rules in its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Box = tuple[float, float, float, float]


def drawn_box(sequence: Sequence[Mapping[str, Any]], frame: int) -> Box | None:
    """The box (x, y, width, height in percent) at a frame, or None if none is drawn."""
    before = [key for key in sequence if key["frame"] <= frame]
    if not before:
        return None
    last = before[-1]
    if not last["enabled"] and last["frame"] != frame:
        return None
    after = next((key for key in sequence if key["frame"] > frame), last)
    part = (frame - last["frame"]) / (after["frame"] - last["frame"]) if after is not last else 0
    x, y, width, height = (last[side] + (after[side] - last[side]) * part for side in ("x", "y", "width", "height"))
    return x, y, width, height
