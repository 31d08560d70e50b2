"""An image file's bytes to pixels, as a browser shows them.

Label Studio draws regions over what the browser shows, so the browser decides on orientation, transparency and depth.
Colour profiles are left out on purpose: models are trained on pixels as they are stored, and a profile moves no edge.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from yolo_backend.errors import MediaError
from yolo_backend.media.formats import kind_of

# All plugins at once and here: loading them later, on demand, is not safe across threads.
Image.init()
FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if name in Image.OPEN)

# Pillow's own limit warns and raises by a constant of the process; ours is a setting and is checked below.
Image.MAX_IMAGE_PIXELS = None

# Chromium ignores EXIF in WebP and reads AVIF's own rotation, which Pillow presents as EXIF; Pillow has already turned
# a TIFF. No browser follows the orientation in XMP, as Image.getexif would.
_TURNED_BY_EXIF = frozenset({"JPEG", "PNG", "AVIF"})
JPEG_SCALES = (1 / 8, 1 / 4, 1 / 2)
"""Of libjpeg's scales those that take less time than all of the picture: 3/8 takes more than 1/2, 5/8 as much as 1."""

TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

# Taken before the YOLO library puts its own in place, which wants to install packages for files that are damaged.
_pillow_open = Image.open


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as the browser shows it."""

    pixels: np.ndarray
    """(H, W, 3) uint8, BGR, C-contiguous; it may be a smaller copy."""
    width: int
    """Width that the browser shows, in pixels; percent coordinates refer to it."""
    height: int
    """Height that the browser shows, in pixels."""


def decode(data: bytes, *, max_megapixels: float, least_scale: Callable[[int, int], float] | None = None) -> Picture:
    """Decode the first frame of an image file.

    Args:
        data: the file.
        max_megapixels: the most that it may have.
        least_scale: tells for a width and height how far the image may be scaled down. A JPEG is then decoded at a half,
            a quarter or an eighth of its size, which takes a fraction of the time; no image gets smaller than asked.

    Raises:
        MediaError: it is no image that a browser shows, is damaged, or has more pixels than ``max_megapixels`` (10^6).
    """
    if not data:
        raise MediaError("the file is empty")
    with _open(data) as image:
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise MediaError(f"{width} × {height} pixels, more than MAX_IMAGE_MEGAPIXELS allows ({max_megapixels:g})")
        try:
            orientation = _orientation(image)
            if orientation in TRANSPOSED:
                width, height = height, width
            scale = 1.0
            if least_scale is not None and image.format == "JPEG":
                needed = least_scale(width, height)
                scale = next((scale for scale in JPEG_SCALES if scale >= needed), 1.0)
            pixels = _turned(_loaded(image, data, scale), orientation)
        except MediaError:
            raise
        except Exception as error:  # what a decoder raises on a damaged file is not limited to anything
            raise MediaError(f"the {image.format} is damaged or incomplete ({_words(error)})") from None
    return Picture(pixels=pixels, width=width, height=height)


def _loaded(image: ImageFile.ImageFile, data: bytes, scale: float) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR for an image, scaled down by the decoder if it is a JPEG."""
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        # The same libjpeg-turbo with the same pixels, without Pillow's copies of them. It refuses whatever is unusual,
        # which Pillow may yet accept.
        with suppress(ValueError):
            return simplejpeg.decode_jpeg(
                data,
                colorspace="BGR",
                min_width=math.ceil(image.width * scale),
                min_height=math.ceil(image.height * scale),
            )
    image.draft(None, (int(image.width * scale), int(image.height * scale)))
    image.load()
    return _to_bgr(image)


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return _pillow_open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # see above
        kind = kind_of(data[:4096])
        name = (kind or "").partition(" ")[2]
        if name in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF") or name.startswith("AVIF"):
            raise MediaError(f"the {name} is damaged or incomplete ({_words(error)})") from None
        raise MediaError(f"{kind or 'a file of an unknown kind'}, not an image that can be decoded here") from None


def _words(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its text shows the address of an object
        return "its header can't be read"
    return str(error) or type(error).__name__


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return (H, W, 3) ``pixels`` the way up that an EXIF ``orientation`` of 1 to 8 says; any other changes nothing."""
    if orientation in TRANSPOSED:
        pixels = cv2.transpose(pixels)
    # Flips about the vertical axis (1), the horizontal (0), both (-1), after the transposition where there is one.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def _orientation(image: Image.Image) -> int:
    block = image.info.get("exif")
    if image.format not in _TURNED_BY_EXIF or not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged block: a browser shows the image as it is stored
        return 1


def _to_bgr(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR for an image of any mode."""
    if image.mode.startswith("I"):  # 16 bits, in I;16, I;16B or I: a browser keeps the upper eight
        wide = np.clip(np.asarray(image), 0, 0xFFFF)
        return cv2.cvtColor((wide >> 8).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if image.mode == "F":
        raise MediaError("its pixels are floating-point numbers, for which no range is agreed")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = _on_white(_as(image, "RGBA"))
    if image.mode in ("1", "L"):
        return cv2.cvtColor(np.asarray(_as(image, "L")), cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(np.asarray(_as(image, "RGB")), cv2.COLOR_RGB2BGR)


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert() copies, whatever the mode


def _on_white(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=alpha)
    return page
