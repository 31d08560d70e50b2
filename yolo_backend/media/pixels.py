"""Converts decoded images of every mode for the model, in strips: a second copy of all pixels may take gigabytes."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from yolo_backend.errors import MediaError

_STRIP = 1 << 20  # pixels
_BLOCK = 8  # rows and columns of the largest block of an interlaced image
_BITS = 8


def to_bgr(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR for an image of any mode, on white where it is transparent.

    Raises:
        MediaError: its pixels are floating-point numbers.
    """
    if image.mode == "F":
        raise MediaError("its pixels are floating-point numbers, for which no range is agreed")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    shift = (
        _shift(max(int(_as_uint16(strip).max()) for _, strip in _strips(image))) if image.mode.startswith("I") else 0
    )
    for rows, strip in _strips(image):
        pixels[rows] = _shift_to_bgr(_as_uint16(strip), shift) if image.mode.startswith("I") else _strip_to_bgr(strip)
    return pixels


def narrow_to_bgr(wide: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR for (H, W, 3 or 4) uint16 BGR or BGRA, in 16 bits or fewer; see `_shift`."""
    pixels = np.empty((*wide.shape[:2], 3), np.uint8)
    rows = _rows(wide.shape[1])
    shift = _shift(max(int(wide[top : top + rows, :, :3].max()) for top in range(0, len(wide), rows)))
    for top in range(0, len(wide), rows):
        strip = wide[top : top + rows]
        narrow = (strip[..., :3] >> shift).astype(np.uint8)
        pixels[top : top + rows] = (
            _blended(np.dstack([narrow, (strip[..., 3] >> _BITS).astype(np.uint8)])) if wide.shape[2] == 4 else narrow
        )
    return pixels


def blend_on_white(bgra: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR for (H, W, 4) BGRA."""
    pixels = np.empty((*bgra.shape[:2], 3), np.uint8)
    rows = _rows(bgra.shape[1])
    for top in range(0, len(bgra), rows):
        pixels[top : top + rows] = _blended(bgra[top : top + rows])
    return pixels


def whiten_missing(pixels: np.ndarray, black: Image.Image, white: Image.Image, *, interlaced: bool) -> np.ndarray:
    """Return the pixels of a truncated image, white where nothing was decoded, as in a browser.

    Args:
        pixels: (H, W, 3) uint8 BGR, of either image; changed in place.
        black: The image decoded onto one value.
        white: The same decoded onto another value: pixels that differ were never decoded.
        interlaced: A browser fills the gaps of such an image with neighbouring pixels.

    Raises:
        MediaError: nothing was decoded.
    """
    has_pixels = False
    for (rows, dark), (_, light) in zip(_strips(black), _strips(white), strict=True):
        differs = np.asarray(dark) != np.asarray(light)
        missing = differs.any(axis=2) if differs.ndim == 3 else differs
        if interlaced:
            _fill_gaps(pixels[rows], missing)
        has_pixels = has_pixels or not missing.all()
        pixels[rows][missing] = 255
    if not has_pixels:
        raise MediaError("it has no pixels that can be decoded")
    return pixels


def place_on_canvas(pixels: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Return a white canvas, (height, width, 3), with a frame on it, cropped at the canvas."""
    if (left, top) == (0, 0) and pixels.shape[:2] == (height, width):
        return pixels
    canvas = np.full((height, width, 3), 255, np.uint8)
    part = pixels[: max(height - top, 0), : max(width - left, 0)]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return (H, W, 3) ``pixels`` turned by an EXIF ``orientation`` of 1 to 8; another value changes nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    # Flips about the vertical axis (1), the horizontal (0), both (-1), after the transposition if there is one.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def _rows(width: int) -> int:
    """Return the number of rows of a strip, which never divides a block of an interlaced image."""
    return max(_STRIP // max(width, 1) // _BLOCK, 1) * _BLOCK


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    rows = _rows(image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _strip_to_bgr(strip: Image.Image) -> np.ndarray:
    if "transparency" in strip.info or strip.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return _blended(cv2.cvtColor(np.asarray(_converted(strip, "RGBA")), cv2.COLOR_RGBA2BGRA))
    if strip.mode in ("1", "L"):
        return cv2.cvtColor(np.asarray(_converted(strip, "L")), cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(np.asarray(_converted(strip, "RGB")), cv2.COLOR_RGB2BGR)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert() copies, whatever the mode


def _blended(bgra: np.ndarray) -> np.ndarray:
    """Return BGR on white, for a strip of BGRA."""
    bgr, alpha = np.ascontiguousarray(bgra[..., :3]), bgra[..., 3]
    if alpha.min(initial=255) == 255:
        return bgr
    darkness = cv2.multiply(cv2.bitwise_not(bgr), cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return cv2.bitwise_not(darkness)


def _as_uint16(strip: Image.Image) -> np.ndarray:
    pixels = np.asarray(strip)
    return pixels if pixels.dtype == np.uint16 else np.clip(pixels, 0, 0xFFFF)


def _shift(largest: int) -> int:
    """Return the number of bits by which pixels of up to 16 bits are shifted to eight, so that the used bits remain.

    A browser keeps the upper eight of 16. A camera's 12 bits would be black then, and viewers brighten them.
    """
    return max(largest.bit_length() - _BITS, 0)


def _shift_to_bgr(wide: np.ndarray, shift: int) -> np.ndarray:
    return cv2.cvtColor((wide >> shift).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def _fill_gaps(pixels: np.ndarray, missing: np.ndarray) -> None:
    """Fill missing pixels with the nearest decoded one to the left or above, from small blocks to large."""
    height, width = missing.shape
    size = 2
    while size <= _BLOCK:
        for rows, columns in (
            (np.arange(height), np.arange(width) // size * size),
            (np.arange(height) // size * size, np.arange(width)),
        ):
            index = np.ix_(rows, columns)
            filled = missing & ~missing[index]
            pixels[filled] = pixels[index][filled]
            missing[filled] = False
        size *= 2
