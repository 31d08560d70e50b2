"""Real files of every kind, against what Chromium shows for them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from yolo_backend.errors import MediaError
from yolo_backend.media.decode import decode

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
SIZE = (48, 32)  # width, height


def corners() -> Image.Image:
    """An image whose quarters tell which way up it is: red, green / blue, white."""
    image = Image.new("RGB", SIZE)
    half = (SIZE[0] // 2, SIZE[1] // 2)
    for place, colour in {(0, 0): RED, (half[0], 0): GREEN, (0, half[1]): BLUE, half: WHITE}.items():
        image.paste(colour, (*place, place[0] + half[0], place[1] + half[1]))
    return image


def saved(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, pillow_format, **options)
    return buffer.getvalue()


def exif(orientation: object) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def rgb(data: bytes) -> np.ndarray:
    """Return the pixels of a file as (H, W, 3) RGB, after checking what is true of every picture."""
    picture = decode(data, max_megapixels=1)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    return picture.pixels[:, :, ::-1]


def corner_colours(data: bytes) -> tuple[tuple[int, ...], ...]:
    """Return the colours of the four quarters, rounded to 0 or 255."""
    pixels = rgb(data)
    height, width = pixels.shape[:2]
    places = (
        (height // 4, width // 4),
        (height // 4, -width // 4),
        (-height // 4, width // 4),
        (-height // 4, -width // 4),
    )
    return tuple(tuple(int(value > 127) * 255 for value in pixels[place]) for place in places)


UPRIGHT = (RED, GREEN, BLUE, WHITE)
TURNED = {  # the four quarters as Chromium shows them
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "TIFF", "AVIF"])
def test_orientation(pillow_format: str, orientation: int) -> None:
    data = saved(corners(), pillow_format, exif=exif(orientation))
    assert corner_colours(data) == TURNED[orientation]
    picture = decode(data, max_megapixels=1)
    assert (picture.width, picture.height) == (SIZE if orientation < 5 else SIZE[::-1])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(corners(), "WEBP", lossless=True, exif=exif(6)), id="Chromium ignores EXIF in WebP"),
        pytest.param(
            saved(corners(), "JPEG", xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'), id="XMP"
        ),
        pytest.param(saved(corners(), "JPEG", exif=exif(0)), id="0"),
        pytest.param(saved(corners(), "JPEG", exif=exif(9)), id="9"),
        pytest.param(saved(corners(), "JPEG", exif=b"Exif\0\0garbage"), id="damaged block"),
        pytest.param(saved(corners(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), id="block cut short"),
        pytest.param(saved(corners(), "JPEG", exif=b""), id="empty block"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_orientation_that_a_browser_ignores(data: bytes) -> None:
    assert corner_colours(data) == UPRIGHT


def grey16() -> Image.Image:
    return Image.fromarray(np.array([[0x0000, 0x00FF, 0x0100, 0x80FF, 0xFFFF]], dtype=np.uint16))


def palette(transparency: Any = None) -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def row(mode: str, *values: Any) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(saved(row("RGB", RED, (1, 2, 3)), "PNG"), [RED, (1, 2, 3)], id="RGB"),
        pytest.param(saved(row("RGB", RED, BLUE), "PNG", transparency=RED), [WHITE, BLUE], id="RGB, a clear colour"),
        pytest.param(saved(row("L", 0, 7, 255), "PNG"), [BLACK, (7,) * 3, WHITE], id="grayscale"),
        pytest.param(saved(row("L", 0, 7), "PNG", transparency=0), [WHITE, (7,) * 3], id="grayscale, a clear shade"),
        pytest.param(saved(row("1", 0, 255), "PNG"), [BLACK, WHITE], id="1 bit"),
        pytest.param(saved(row("1", 0, 255), "TIFF", compression="group4"), [BLACK, WHITE], id="fax"),
        pytest.param(saved(row("1", 0, 255), "BMP"), [BLACK, WHITE], id="1-bit BMP"),
        pytest.param(saved(palette(), "PNG"), [RED, BLUE], id="palette"),
        pytest.param(saved(palette(), "PNG", transparency=0), [WHITE, BLUE], id="palette, a clear colour"),
        pytest.param(saved(palette(), "PNG", transparency=b"\x00\xff"), [WHITE, BLUE], id="palette with alpha"),
        pytest.param(saved(palette(), "GIF", transparency=0), [WHITE, BLUE], id="transparent GIF"),
        pytest.param(
            saved(row("LA", (0, 0), (0, 255), (0, 51)), "PNG"), [WHITE, BLACK, (204,) * 3], id="gray and alpha"
        ),
        pytest.param(
            saved(row("RGBA", (*RED, 0), (*RED, 255), (*RED, 51)), "PNG"), [WHITE, RED, (255, 204, 204)], id="alpha"
        ),
        pytest.param(saved(row("RGBA", (*RED, 255)), "PNG"), [RED], id="alpha that hides nothing"),
        pytest.param(
            saved(row("RGBA", (*RED, 0), (*BLUE, 255)), "WEBP", lossless=True), [WHITE, BLUE], id="WebP with alpha"
        ),
        pytest.param(
            saved(grey16(), "PNG"),
            [BLACK, BLACK, (1,) * 3, (128,) * 3, WHITE],
            id="16-bit PNG: the upper byte, as Chromium",
        ),
        pytest.param(saved(grey16(), "TIFF"), [BLACK, BLACK, (1,) * 3, (128,) * 3, WHITE], id="16-bit TIFF"),
        pytest.param(
            saved(Image.fromarray(np.array([[-5, 256, 70000]], dtype=np.int32)), "TIFF"),
            [BLACK, (1,) * 3, WHITE],
            id="32 bits",
        ),
        pytest.param(saved(row("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "TIFF"), [RED, BLUE], id="CMYK TIFF"),
    ],
)
def test_modes(data: bytes, expected: list[tuple[int, ...]]) -> None:
    pixels = rgb(data)[0].tolist()
    assert pixels == [list(colour) for colour in expected]


@pytest.mark.parametrize("pillow_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        pytest.param(0, 0, id="black"),
        pytest.param(200, 200, id="8 bits"),
        pytest.param(1000, 250, id="10 bits"),
        pytest.param(4000, 250, id="12 bits"),
        pytest.param(16000, 250, id="14 bits"),
        pytest.param(64000, 250, id="16 bits"),
    ],
)
def test_the_bits_that_are_used_of_16(pillow_format: str, largest: int, expected: int) -> None:
    data = saved(Image.fromarray(np.array([[0, largest // 2, largest]], dtype=np.uint16)), pillow_format)
    assert rgb(data)[0, :, 1].tolist() == [0, expected // 2, expected]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_colours_of_16_bits_in_a_tiff(bits: int, orientation: int) -> None:
    data = wide_tiff(np.asarray(corners()).astype(np.uint16) >> 8 - min(bits, 8) << max(bits - 8, 0), orientation)
    assert corner_colours(data) == TURNED[orientation]


def wide_tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """A TIFF of three channels of 16 bits."""
    height, width, channels = pixels.shape
    data = struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes()
    tags = {256: width, 257: height, 258: 0, 259: 1, 262: 2, 273: 6, 274: orientation, 277: channels, 278: height}
    tags |= {279: len(data) - 6}
    start = 8 + 2 + 12 * len(tags) + 4
    tags |= {258: start, 273: start + 6}
    entries = b"".join(
        struct.pack("<HHII", tag, *((3, 3) if tag == 258 else (4, 1)), value) for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + data


def test_16_bits_in_the_other_byte_order() -> None:
    values = np.array([[0x0000, 0x80FF, 0xFFFF]], dtype=">u2")
    entries = [
        (256, 4, 3),
        (257, 4, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 122),
        (277, 3, 1),
        (278, 4, 1),
        (279, 4, 6),
    ]
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(">HHI", tag, kind, 1) + (
            struct.pack(">I", value) if kind == 4 else struct.pack(">HH", value, 0)
        )
    data = b"MM\0*" + struct.pack(">I", 8) + directory + struct.pack(">I", 0)
    data += b"\0" * (122 - len(data)) + values.tobytes()
    assert rgb(data)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_cmyk_jpeg(transform: int) -> None:
    """Both are written inverted, with Adobe's marker; ``transform`` says which of the two it is."""
    inks = Image.merge(
        "CMYK", [*(Image.eval(band, lambda v: 255 - v) for band in corners().split()), Image.new("L", SIZE)]
    )
    data = saved(inks, "JPEG", quality=95)
    assert b"Adobe" in data
    if transform:
        # A decoder takes the stored YCbCr for inverted inks; K is stored inverted, and Pillow inverts what it writes.
        stored = Image.merge("RGB", inks.split()[:3]).convert("YCbCr")
        given = [Image.eval(band, lambda v: 255 - v) for band in stored.split()]
        data = saved(Image.merge("CMYK", [*given, Image.new("L", SIZE)]), "JPEG", quality=95)
        marker = data.index(b"Adobe")
        data = data[: marker + 11] + bytes([transform]) + data[marker + 12 :]
    assert corner_colours(data) == UPRIGHT


def test_grayscale_jpeg() -> None:
    pixels = rgb(saved(Image.new("L", (16, 16), 100), "JPEG"))
    assert np.abs(pixels.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_several(pillow_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], pillow_format, save_all=True, append_images=frames[1:])
    assert np.abs(rgb(data).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_sizes_at_the_edge(pillow_format: str, size: tuple[int, int]) -> None:
    assert rgb(saved(Image.new("RGB", size, RED), pillow_format)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("pillow_format", ["PNG", "JPEG", "WEBP"])
def test_colour_profile_changes_nothing(pillow_format: str) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = rgb(saved(corners(), pillow_format))
    assert np.array_equal(rgb(saved(corners(), pillow_format, icc_profile=profile)), plain)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(1001, 1000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(MediaError, match=f"{size[0]} × {size[1]} pixels, more than MAX_IMAGE_MEGAPIXELS allows .1"):
        decode(png_header(*size), max_megapixels=1)


def test_as_many_pixels_as_allowed() -> None:
    assert rgb(saved(Image.new("1", (1000, 1000)), "PNG")).shape == (1000, 1000, 3)


@pytest.mark.slow
def test_more_pixels_than_pillow_would_allow() -> None:
    with pytest.raises(MediaError, match="the PNG is damaged or incomplete"):
        decode(png_header(10_000, 9_500), max_megapixels=100)


def test_a_jpeg_of_very_many_scans() -> None:
    """A few bytes each, which go over all pixels."""
    data = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert rgb(data[:-2] + last * 100 + data[-2:]).shape == (64, 64, 3)
    with pytest.raises(MediaError, match=r"the JPEG has 30[0-9] scans, more than"):
        decode(data[:-2] + last * 300 + data[-2:], max_megapixels=1)


@pytest.mark.parametrize("pillow_format", ["WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(pillow_format: str, part: float) -> None:
    """Of the other formats a browser shows what is there; see ``tests.support.shown_files``."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, pillow_format)
    with pytest.raises(MediaError, match="is damaged or incomplete") as raised:
        decode(data[: int(len(data) * part)], max_megapixels=1)
    assert "0x" not in str(raised.value), "no address of an object"


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_damaged_anywhere_is_a_picture_or_a_media_error(pillow_format: str) -> None:
    data = saved(corners(), pillow_format)
    random = np.random.default_rng(1)
    errors = []
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 12)):
            damaged[place] = random.integers(0, 256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decode(bytes(damaged), max_megapixels=1)
        except MediaError as error:
            errors.append(str(error))
    assert errors
    assert max(map(len, errors)) < 400


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the file is empty"),
        (b"\0", "a file of an unknown kind, not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing, not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image, not an image that can be decoded here"),
        (b"%PDF-1.7\n", "a PDF document, not an image"),
        (b"<html>", "a web page, not an image"),
        (b"hello", "a text file, not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a text file, not an image"),
        (saved(Image.new("RGB", (8, 8)), "PPM"), "not an image"),
        (saved(Image.new("RGB", (8, 8)), "JPEG2000"), "a JPEG 2000 image, not an image"),
        (saved(Image.new("F", (8, 8)), "TIFF"), "floating-point"),
    ],
)
def test_what_is_no_image_here(data: bytes, expected: str) -> None:
    with pytest.raises(MediaError, match=expected):
        decode(data, max_megapixels=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("least", "divisor"), [(1.0, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.1, 8), (0.01, 8)]
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(orientation: int, least: float, divisor: int) -> None:
    picture = Image.new("RGB", (400, 240), "white")
    picture.paste("red", (0, 0, 200, 120))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif, quality=95)
    full = decode(file.getvalue(), max_megapixels=1)
    asked = []

    def least_scale(width: int, height: int) -> float:
        asked.append((width, height))
        return least

    small = decode(file.getvalue(), max_megapixels=1, least_scale=least_scale)
    assert asked == [(full.width, full.height)]
    assert (small.width, small.height) == (full.width, full.height)
    assert small.pixels.shape == (full.height // divisor, full.width // divisor, 3)
    expected = cv2.resize(full.pixels, small.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.pixels.astype(int) - expected).mean() < 4


def test_only_jpegs_are_decoded_smaller() -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 240), "white").save(file, "PNG")
    assert decode(file.getvalue(), max_megapixels=1, least_scale=lambda *_: 0.1).pixels.shape == (240, 400, 3)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs_have_the_pixels_that_pillow_gives(mode: str, subsampling: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(noise).resize((133, 79), Image.Resampling.BICUBIC).convert(mode)
    picture.save(file, "JPEG", quality=80, subsampling=subsampling, progressive=True)
    for divisor in (1, 2, 4, 8):
        with Image.open(file) as opened:
            opened.draft(None, (133 // divisor, 79 // divisor))
            expected = np.asarray(opened.convert("RGB"))
        pixels = decode(
            file.getvalue(), max_megapixels=1, least_scale=partial(lambda scale, *_: scale, 1 / divisor)
        ).pixels
        assert (pixels[..., ::-1] == expected).all()
