"""The frame numbers of Label Studio's editor.

The editor knows nothing of a video's own frames: it counts in steps of 1/frameRate from 1, and seeks to a time for each
number. People see the picture that is on screen at that time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolo_backend.errors import MediaError
from yolo_backend.label_studio.task_data import parse_value

DEFAULT_FRAME_RATE = 24.0
"""What the editor uses without ``<Video frameRate>``, whatever the video's own rate."""

MOST_FRAMES_PER_SECOND = 1000.0

# The editor rounds a time to a multiple of this many seconds and adds as much, to land inside a picture.
_SEEK_STEP = 0.002


def frame_rate(text: str | None, data: Mapping[str, Any]) -> float:
    """Return the rate that the editor reads from ``<Video frameRate>``, in frames per second.

    Args:
        text: the attribute: a number, or a variable of the task's data; below 1 it's seconds per frame.
        data: of the task.
    """
    try:
        rate = float(parse_value(text or "", data))
    except (MediaError, TypeError, ValueError, OverflowError):
        return DEFAULT_FRAME_RATE
    if not math.isfinite(rate) or rate <= 0:
        return DEFAULT_FRAME_RATE
    return min(rate if rate >= 1 else 1 / rate, MOST_FRAMES_PER_SECOND)


@dataclass(frozen=True)
class EditorFrames:
    """The editor's frame numbers at one frame rate, in frames per second."""

    rate: float

    def shown(self, start: float, end: float) -> range:
        """Return the numbers that show a picture which is on screen from ``start`` to ``end`` seconds.

        Empty if the editor skips the picture, as it does if its rate is below the video's.
        """
        return range(self._first_from(start), self._first_from(end))

    def count(self, duration: float) -> int:
        """Return the number of frames that the editor counts in a video of this duration in seconds."""
        return max(1, _round(duration * self.rate))

    def time(self, number: int) -> float:
        """Return the ``time`` in seconds that the editor writes for a frame number."""
        return round(number / self.rate, 6)

    def _first_from(self, seconds: float) -> int:
        """Return the first number for which the editor seeks to this moment or a later one."""
        number = max(1, math.floor((seconds - 2 * _SEEK_STEP) * self.rate) + 1)
        # Floating-point numbers miss the fractions of pictures' times by a hair.
        while self._sought(number) < seconds - 1e-6:
            number += 1
        return number

    def _sought(self, number: int) -> float:
        return _round((number - 1) / self.rate / _SEEK_STEP) * _SEEK_STEP + _SEEK_STEP


def _round(number: float) -> int:
    """Round half up, as JavaScript does."""
    return math.floor(number + 0.5)
