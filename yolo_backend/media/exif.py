"""The values of an EXIF block that change a browser's picture: its orientation and its size."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

TRANSPOSED = (5, 6, 7, 8)
"""Orientations that swap width and height."""

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
_EXIF_DIRECTORY, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_INCH = 2
_BROWSER_RESOLUTION = 72  # pixels per inch


@dataclass(frozen=True, kw_only=True)
class Exif:
    """The values of an EXIF block that a browser follows, by their tags.

    Read as Chromium does: the first value of a tag counts, in the main directory or in the EXIF directory, and only with the
    type of the standard. Of a damaged block the readable part counts.
    """

    values: dict[int, float] = field(default_factory=dict)

    @classmethod
    def read(cls, block: bytes | None) -> Exif:
        """Read a block, which starts with TIFF's header; other bytes have no values."""
        order = {b"II*\0": "<", b"MM\0*": ">"}.get((block or b"")[:4])
        values: dict[int, float] = {}
        if block is not None and order is not None:
            with memoryview(block) as view:
                for tag, value in _values(view, order, _number(view, order, 4, "I"), is_main=True):
                    values.setdefault(tag, value)
        return cls(values=values)

    @property
    def orientation(self) -> int:
        """From 1 to 8."""
        return int(self.values.get(_ORIENTATION, 1))

    def natural_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size in which a browser shows a JPEG of ``width`` × ``height`` pixels, before it is turned.

        It differs from its own if the block has a resolution and a size that agree with each other.
        """
        declared = self.values.get(_WIDTH), self.values.get(_HEIGHT)
        resolution = self.values.get(_X_RESOLUTION, 0), self.values.get(_Y_RESOLUTION, 0)
        if self.values.get(_RESOLUTION_UNIT) != _INCH or not all(declared) or not all(resolution):
            return width, height
        derived = tuple(
            int(side * _BROWSER_RESOLUTION / per_inch + 0.5)
            for side, per_inch in zip((width, height), resolution, strict=True)
        )
        return (derived[0], derived[1]) if derived == declared else (width, height)


def _values(view: memoryview, order: str, start: int | None, *, is_main: bool) -> Iterator[tuple[int, float]]:
    """Yield the tags and values of a directory that a browser follows."""
    count = None if start is None else _number(view, order, start, "H")
    for index in range(count or 0):
        at = (start or 0) + 2 + 12 * index
        if at + 12 > len(view):
            return
        tag, kind, items = struct.unpack_from(f"{order}HHI", view, at)
        if items != 1:
            continue
        short, long = _number(view, order, at + 8, "H"), _number(view, order, at + 8, "I")
        if tag == _EXIF_DIRECTORY and kind == _LONG and is_main:
            yield from _values(view, order, long, is_main=False)
        elif tag == _ORIENTATION and kind == _SHORT and 1 <= (short or 0) <= 8:
            yield tag, short or 1
        elif tag == _RESOLUTION_UNIT and kind == _SHORT:
            yield tag, short or 0
        elif tag in (_WIDTH, _HEIGHT) and kind in (_SHORT, _LONG):
            yield tag, (short if kind == _SHORT else long) or 0
        elif tag in (_X_RESOLUTION, _Y_RESOLUTION) and kind == _RATIONAL and long is not None:
            numerator, denominator = _number(view, order, long, "I"), _number(view, order, long + 4, "I")
            if numerator and denominator:
                yield tag, numerator / denominator


def _number(view: memoryview, order: str, at: int, kind: str) -> int | None:
    """Return the number at an offset; None past the end."""
    if at + struct.calcsize(f"={kind}") > len(view):
        return None
    return int(struct.unpack_from(order + kind, view, at)[0])
