"""Images: encoded, with a header that has been read, and decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from yolo_backend.errors import MediaError
from yolo_backend.media.exif import TRANSPOSED
from yolo_backend.media.pixels import turned

JPEG_SCALES = (1 / 8, 1 / 4, 1 / 2)
"""Of libjpeg's scales those that take less time than all of the picture: 3/8 takes more than 1/2, 5/8 as much as 1."""

Scale = Callable[[int, int], float]
"""Tells for a width and height how far an image may be scaled down."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as the browser shows it."""

    pixels: np.ndarray
    """(H, W, 3) uint8, BGR, C-contiguous; it may be a smaller copy."""
    width: int
    """Width that the browser shows, in pixels; percent coordinates refer to it."""
    height: int
    """Height that the browser shows, in pixels."""


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """An image whose header has been read: its size is known, and none of its pixels is in memory."""

    kind: str
    width: int
    """Of the first frame's page, in pixels, as stored."""
    height: int
    load: Callable[[float], np.ndarray] = field(repr=False)
    """Decodes the page: (H, W, 3) uint8 BGR, scaled down by so much if it is a JPEG."""
    orientation: int = 1
    natural_size: tuple[int, int] | None = None
    """What a browser takes for the size, if that's another."""

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.width * self.height

    def scale(self, least_scale: Scale | None) -> float:
        """Return the scale to decode it at: a half, a quarter or an eighth, no smaller than asked, for a JPEG."""
        if least_scale is None or self.kind != "JPEG":
            return 1.0
        needed = least_scale(*self._upright(self.width, self.height))
        return next((scale for scale in JPEG_SCALES if scale >= needed), 1.0)

    def decode(self, scale: float = 1.0) -> Picture:
        """Decode the pixels.

        Raises:
            MediaError: they are damaged beyond what a browser shows.
        """
        try:
            pixels = turned(self.load(scale), self.orientation)
        except Exception as error:  # what a decoder raises on a damaged file is not limited to anything
            raise damaged(self.kind, error) from None
        width, height = self._upright(*(self.natural_size or (self.width, self.height)))
        return Picture(pixels=np.ascontiguousarray(pixels), width=width, height=height)

    def _upright(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.orientation in TRANSPOSED else (width, height)


def damaged(kind: str, error: Exception | str) -> MediaError:
    """Return what to raise for a file that is damaged beyond what a browser shows."""
    return MediaError(f"the {kind} is damaged or incomplete ({str(error) or type(error).__name__})")
