"""Images before and after decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from yolo_backend.errors import MediaError
from yolo_backend.media.exif import TRANSPOSED
from yolo_backend.media.pixels import apply_orientation

JPEG_SCALES = (1 / 8, 1 / 4, 1 / 2)
"""libjpeg's scales that are faster than the whole picture: 3/8 takes longer than 1/2, and 5/8 as long as 1."""

Scale = Callable[[int, int], float]
"""Returns for a width and height how far an image may be scaled down."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as the browser shows it.

    Attributes:
        pixels: (H, W, 3) uint8, BGR, C-contiguous; it may be a smaller copy.
        width: In the browser, in pixels; percent coordinates refer to it.
        height: In the browser, in pixels.
    """

    pixels: np.ndarray
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """An image whose header has been read, but none of its pixels.

    Attributes:
        kind: The name of its format.
        width: Of the canvas of the first frame, in pixels, as stored.
        height: Of the same.
        load: Decodes the canvas to (H, W, 3) uint8 BGR, at the given scale if it is a JPEG.
        orientation: As EXIF numbers it, from 1 to 8.
        natural_size: The size in a browser, if it differs.
    """

    kind: str
    width: int
    height: int
    load: Callable[[float], np.ndarray] = field(repr=False)
    orientation: int = 1
    natural_size: tuple[int, int] | None = None

    @property
    def pixels(self) -> int:
        """The number of its pixels."""
        return self.width * self.height

    def scale(self, least_scale: Scale | None) -> float:
        """Return the scale for decoding: for a JPEG the smallest of `JPEG_SCALES` that is large enough."""
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
            pixels = apply_orientation(self.load(scale), self.orientation)
        except Exception as error:  # a decoder may raise anything on a damaged file
            raise damaged(self.kind, error) from None
        width, height = self._upright(*(self.natural_size or (self.width, self.height)))
        return Picture(pixels=np.ascontiguousarray(pixels), width=width, height=height)

    def _upright(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.orientation in TRANSPOSED else (width, height)


def damaged(kind: str, error: Exception | str) -> MediaError:
    """Return the exception for a file that is too damaged for a browser."""
    return MediaError(f"the {kind} is damaged or incomplete ({str(error) or type(error).__name__})")
