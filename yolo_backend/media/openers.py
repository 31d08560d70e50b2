"""One function for each format, which reads a file's header and returns an image that decodes as in Chromium.

Each gets a whole file of its format. Pillow's classes are used directly: the YOLO library replaces `Image.open` by a function
that tries to install packages for damaged files.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import simplejpeg
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
)

from yolo_backend.media import icon, jpeg, png, webp
from yolo_backend.media.encoded import EncodedImage
from yolo_backend.media.exif import Exif
from yolo_backend.media.pixels import blend_on_white, narrow_to_bgr, place_on_canvas, to_bgr, whiten_missing

# Pillow's limit is a constant of the process, which warns and raises; ours is a setting and is checked for every format.
Image.MAX_IMAGE_PIXELS = None
# OpenCV would write to standard error what a MediaError says here.
cv2.setLogLevel(0)

_DARK = 128
"""If all values are below this, the upper eight of 16 bits may not be the used ones."""


def _open_jpeg(data: bytes) -> EncodedImage:
    header = jpeg.read(data)
    width, height = header.width, header.height
    exif = Exif.read(header.exif)

    def load(scale: float) -> np.ndarray:
        if header.components in (1, 3):
            # The same libjpeg-turbo with the same pixels as Pillow, without its copies of them. It refuses unusual files,
            # which Pillow may still accept.
            with suppress(ValueError):
                return simplejpeg.decode_jpeg(
                    data, colorspace="BGR", min_width=math.ceil(width * scale), min_height=math.ceil(height * scale)
                )
        file = jpeg.minimal_jpeg(data)

        def opened() -> ImageFile.ImageFile:
            scaled = JpegImagePlugin.JpegImageFile(io.BytesIO(file))
            scaled.draft(None, (int(width * scale), int(height * scale)))
            return scaled

        return _decoded(opened, may_be_cut=True)

    return EncodedImage(
        kind="JPEG",
        width=width,
        height=height,
        load=load,
        orientation=exif.orientation,
        natural_size=exif.natural_size(width, height),
    )


def _open_png(data: bytes) -> EncodedImage:
    still = png.read(data)

    def load(_: float) -> np.ndarray:
        pixels = _decoded(
            lambda: PngImagePlugin.PngImageFile(io.BytesIO(still.data)),
            may_be_cut=True,
            interlaced=still.is_interlaced,
            wide=partial(_wide_pixels, still.data) if still.has_wide_colours else None,
        )
        return place_on_canvas(pixels, still.left, still.top, still.width, still.height)

    return EncodedImage(
        kind="PNG",
        width=still.width,
        height=still.height,
        load=load,
        orientation=Exif.read(still.exif).orientation,
    )


def _open_webp(data: bytes) -> EncodedImage:
    still = webp.read(data)

    def load(_: float) -> np.ndarray:
        # OpenCV needs half the memory of Pillow's decoder for animations.
        pixels = cv2.imdecode(np.frombuffer(still.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("its pixels can't be read")
        if pixels.shape[2] == 4:
            pixels = blend_on_white(pixels)
        return place_on_canvas(pixels, still.left, still.top, still.width, still.height)

    # Chromium ignores EXIF here.
    return EncodedImage(kind="WebP", width=still.width, height=still.height, load=load)


def _open_gif(data: bytes) -> EncodedImage:
    image = GifImagePlugin.GifImageFile(io.BytesIO(data))
    tile = image.tile[0]
    left, top, right, bottom = tile.extents or (0, 0, *image.size)
    is_interlaced = bool(tile.args[1]) if isinstance(tile.args, tuple) else False

    def load(_: float) -> np.ndarray:
        pixels = _decoded(
            lambda: GifImagePlugin.GifImageFile(io.BytesIO(data)), may_be_cut=True, interlaced=is_interlaced
        )
        return place_on_canvas(pixels[top:bottom, left:right], left, top, *image.size)

    return EncodedImage(kind="GIF", width=image.width, height=image.height, load=load)


def _open_bmp(data: bytes) -> EncodedImage:
    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    return EncodedImage(
        kind="BMP",
        width=image.width,
        height=image.height,
        load=lambda _: _decoded(lambda: BmpImagePlugin.BmpImageFile(io.BytesIO(data)), may_be_cut=True),
    )


def _open_icon(data: bytes) -> EncodedImage:
    largest = icon.read(data)
    if largest.data.startswith(png.SIGNATURE):
        return replace(_open_png(largest.data), kind="Windows icon", orientation=1)
    width, height = largest.size
    return EncodedImage(kind="Windows icon", width=width, height=height, load=lambda _: to_bgr(largest.open_bitmap()))


def _open_avif(data: bytes) -> EncodedImage:
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    # A browser follows the format's own rotation, which Pillow presents as EXIF.
    exif = Exif.read(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    return EncodedImage(
        kind="AVIF",
        width=image.width,
        height=image.height,
        load=lambda _: _decoded(lambda: image),
        orientation=exif.orientation,
    )


def _open_tiff(data: bytes) -> EncodedImage:
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ())
    wide = None
    if len(bits) > 1 and max(bits) > 8:
        wide = partial(_wide_pixels, data)
    # Pillow and OpenCV turn it by themselves.
    return EncodedImage(
        kind="TIFF", width=image.width, height=image.height, load=lambda _: _decoded(lambda: image, wide=wide)
    )


def _decoded(
    opened: Callable[[], ImageFile.ImageFile],
    *,
    may_be_cut: bool = False,
    interlaced: bool = False,
    wide: Callable[[], np.ndarray | None] | None = None,
) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR.

    Args:
        opened: Opens the image, without decoding it.
        may_be_cut: A browser shows truncated files of this format, as far as they go.
        interlaced: A browser fills the gaps of a truncated file.
        wide: Returns its pixels as (H, W, 3 or 4) uint16, since Pillow keeps the upper bytes only; None if it can't.
    """
    image = opened()
    try:
        image.load()
    except Exception:  # see `EncodedImage.decode`
        if not may_be_cut:
            raise
        black, white = (_decoded_onto(opened(), value) for value in (0, 255))
        return whiten_missing(to_bgr(black), black, white, interlaced=interlaced)
    if wide is not None and _is_dark(image):
        pixels = wide()
        if pixels is not None and pixels.shape[:2] == (image.height, image.width):
            return narrow_to_bgr(pixels)
    return to_bgr(image)


def _decoded_onto(image: ImageFile.ImageFile, value: int) -> Image.Image:
    """Return the decodable part of an image, on a background of ``value``."""
    image.im = Image.new(image.mode, image.size, (value,) * len(image.getbands())).im
    with suppress(Exception):  # see above
        image.load()
    image.tile = []  # otherwise Pillow would decode it again
    return image


def _is_dark(image: Image.Image) -> bool:
    colours = [image.getchannel(band) for band in image.getbands() if band != "A"]
    return not any(colour.point(lambda value: value >= _DARK).getbbox() for colour in colours)


def _wide_pixels(data: bytes) -> np.ndarray | None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels if pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 3 else None


OPENERS: dict[str, Callable[[bytes], EncodedImage]] = {
    "a JPEG": _open_jpeg,
    "a PNG": _open_png,
    "a WebP": _open_webp,
    "a GIF": _open_gif,
    "a BMP": _open_bmp,
    "an AVIF image": _open_avif,
    "a TIFF": _open_tiff,
    "a Windows icon": _open_icon,
    "a Windows cursor": _open_icon,
}
"""By the kind that `formats.kind_of` returns."""
