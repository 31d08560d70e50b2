"""Decodes image files to the pixels that a browser shows.

Label Studio draws regions over the browser's picture, so the browser decides on orientation, size, transparency, the frame
of an animation, and how much of a damaged file is shown. It recognises a format by its bytes, not by the file's name. TIFF,
which Chromium doesn't show, has rules of its own. Colour profiles are ignored on purpose: models are trained on pixels as
they are stored, and a profile moves no edge.
"""

from __future__ import annotations

from yolo_backend.errors import MediaError
from yolo_backend.media.encoded import EncodedImage, Picture, Scale, damaged
from yolo_backend.media.formats import kind_of
from yolo_backend.media.openers import OPENERS

BYTES_PER_PIXEL = 16
"""The most memory that decoding takes for each pixel, whatever the format."""


def decode(data: bytes, *, max_megapixels: float, least_scale: Scale | None = None) -> Picture:
    """Decode the first frame of an image file.

    Args:
        data: The file.
        max_megapixels: Its limit, in 10^6 pixels.
        least_scale: Returns for a width and height how far the image may be scaled down. A JPEG is then decoded at a half,
            a quarter or an eighth of its size, which takes a fraction of the time, but never below that scale.

    Raises:
        MediaError: it is no image that a browser shows, is damaged, or has more pixels than ``max_megapixels`` (10^6).
    """
    image = inspect(data, max_megapixels=max_megapixels)
    return image.decode(image.scale(least_scale))


def inspect(data: bytes, *, max_megapixels: float) -> EncodedImage:
    """Read the header of an image file.

    Raises:
        MediaError: it is no image that a browser shows, is damaged, or has more pixels than ``max_megapixels`` (10^6).
    """
    if not data:
        raise MediaError("the file is empty")
    kind = kind_of(data[:4096])
    if kind not in OPENERS:
        raise MediaError(f"{kind or 'a file of an unknown kind'}, not an image that can be decoded here")
    try:
        image = OPENERS[kind](data)
    except MediaError:
        raise
    except Exception:  # a decoder may raise anything on a damaged file
        raise damaged(kind.partition(" ")[2], "its header can't be read") from None
    for width, height in filter(None, ((image.width, image.height), image.natural_size)):
        if width <= 0 or height <= 0:
            raise damaged(image.kind, f"it is {width} × {height} pixels")
        if width * height > max_megapixels * 1e6:
            raise MediaError(f"{width} × {height} pixels, more than MAX_IMAGE_MEGAPIXELS allows ({max_megapixels:g})")
    return image
