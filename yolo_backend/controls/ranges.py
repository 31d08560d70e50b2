"""When something is on, frame by frame, to the ranges that people would draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Range:
    """Frames from ``start`` to ``end``, both included, counted from 1, with the mean score of those that are on."""

    start: int
    end: int
    score: float
    on: int


class Ranges:
    """Collects the frames at which one thing is on, in order: gaps are bridged first, then short ranges are dropped."""

    def __init__(self, *, max_gap: int, min_frames: int) -> None:
        self._max_gap = max_gap
        self._min_frames = min_frames
        self._ranges: list[Range] = []

    def add(self, start: int, end: int, score: float) -> None:
        """Say that it is on from ``start`` to ``end``, both included, with this score."""
        on = end - start + 1
        last = self._ranges[-1] if self._ranges else None
        if last is not None and start - last.end - 1 <= self._max_gap:
            last.score = (last.score * last.on + score * on) / (last.on + on)
            last.on += on
            last.end = end
            return
        self._drop_short()
        self._ranges.append(Range(start=start, end=end, score=score, on=on))

    def finish(self, frames: int) -> Iterator[Range]:
        """Yield the ranges in order, cut off at the last of the video's ``frames``."""
        for found in self._ranges:
            end = min(found.end, frames)
            if end - found.start + 1 >= self._min_frames:
                yield Range(start=found.start, end=end, score=found.score, on=found.on)

    def _drop_short(self) -> None:
        # As soon as nothing can be joined to it, so that hours of flicker take no memory.
        if self._ranges and self._ranges[-1].end - self._ranges[-1].start + 1 < self._min_frames:
            self._ranges.pop()
