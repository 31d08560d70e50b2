"""Image files of every kind, whole, odd and damaged, with what Chromium shows for each.

The pictures have four quarters: red, green / blue, black. What a browser leaves blank is the white of the page. The end-to-end
tests compare the whole table with a real Chromium.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "K": (0, 0, 0), "W": (255, 255, 255)}
WIDTH, HEIGHT = 96, 64
UPRIGHT = "RGBK"
TURNED = {1: UPRIGHT, 2: "GRKB", 3: "KBGR", 4: "BKRG", 5: "RBGK", 6: "BRKG", 7: "KGBR", 8: "GKRB"}
"""The quarters from left to right and from above by the orientation of EXIF."""


@dataclass(frozen=True, kw_only=True)
class ShownFile:
    """A file and what Chromium shows of it.

    Attributes:
        quarters: their colours, from left to right and from above; W where it is blank, ? where it's half and half.
        size: width and height.
        is_brightened: whether Chromium shows it darker than it is predicted on.
    """

    name: str
    data: bytes
    quarters: str = UPRIGHT
    size: tuple[int, int] = (WIDTH, HEIGHT)
    is_brightened: bool = False


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Four quarters with some noise, which spreads the bytes of a file evenly over them."""
    noise = np.random.default_rng(0).integers(0, 48, (height, width, 3), np.uint8)
    for (row, column), colour in zip(np.ndindex(2, 2), UPRIGHT, strict=True):
        rows = slice(row * height // 2, (row + 1) * height // 2)
        columns = slice(column * width // 2, (column + 1) * width // 2)
        bright = np.array(COLOURS[colour], np.uint8)
        noise[rows, columns] = np.where(bright, 255 - noise[rows, columns], noise[rows, columns])
    return Image.fromarray(noise)


def saved(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, pillow_format, **options)
    return file.getvalue()


def colours_of_quarters(pixels: np.ndarray) -> str:
    """Return the colours in the middle of the quarters of (H, W, 3) RGB, as `ShownFile.quarters` has them."""
    height, width = pixels.shape[:2]
    said = ""
    for row, column in np.ndindex(2, 2):
        rows = slice(height * (1 + 4 * row) // 8, max(height * (3 + 4 * row) // 8, height * (1 + 4 * row) // 8 + 1))
        columns = slice(width * (1 + 4 * column) // 8, max(width * (3 + 4 * column) // 8, 1))
        part = pixels[rows, columns].reshape(-1, 3).astype(int)
        near = {name: (np.abs(part - colour).max(axis=1) < 80).mean() for name, colour in COLOURS.items()}
        best = max(near, key=lambda name: near[name])
        said += best if near[best] > 0.9 else "?"
    return said


# EXIF


def exif(
    *entries: tuple[int, int, int, bytes], order: str = "<", sub: tuple[tuple[int, int, int, bytes], ...] = ()
) -> bytes:
    """A block of EXIF: entries of (tag, type, count, value), and those of the directory for EXIF."""
    start = 8
    directories = [list(entries)]
    if sub:
        directories[0].append((0x8769, 4, 1, b""))
        directories.append(list(sub))
    ends = []
    for directory in directories:
        start += 2 + 12 * len(directory) + 4 + sum(len(value) for *_, value in directory if len(value) > 4)
        ends.append(start)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    for directory in directories:
        more, offset = b"", len(block) + 2 + 12 * len(directory) + 4
        block += struct.pack(f"{order}H", len(directory))
        for tag, kind, count, value in directory:
            if tag == 0x8769:
                value = struct.pack(f"{order}I", ends[0])
            elif len(value) > 4:
                more, value = more + value, struct.pack(f"{order}I", offset + len(more))
            block += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
        block += b"\0" * 4 + more
    return block


def turn(orientation: int, order: str = "<") -> bytes:
    return exif((0x0112, 3, 1, struct.pack(f"{order}H", orientation)), order=order)


def resolution(x: int, y: int, width: int, height: int, orientation: int = 1) -> bytes:
    """EXIF of a picture that is to be shown in another size."""
    return exif(
        (0x0112, 3, 1, struct.pack("<H", orientation)),
        (0x011A, 5, 1, struct.pack("<II", x, 1)),
        (0x011B, 5, 1, struct.pack("<II", y, 1)),
        (0x0128, 3, 1, struct.pack("<H", 2)),
        sub=((0xA002, 4, 1, struct.pack("<I", width)), (0xA003, 4, 1, struct.pack("<I", height))),
    )


SHORT, SIX = struct.pack("<H", 6), turn(6)
ODD_EXIF = {
    "big-endian": (turn(6, ">"), 6),
    "in another type": (exif((0x0112, 4, 1, struct.pack("<I", 6))), 1),
    "twice the number": (exif((0x0112, 3, 2, SHORT + SHORT)), 1),
    "0": (turn(0), 1),
    "9": (turn(9), 1),
    "the first of two counts": (exif((0x0112, 3, 1, SHORT), (0x0112, 3, 1, b"\3\0")), 6),
    "in the EXIF directory": (exif(sub=((0x0112, 3, 1, SHORT),)), 6),
    "behind others": (exif((0x010F, 2, 8, b"camera!\0"), (0x0112, 3, 1, SHORT)), 6),
    "cut behind it": (SIX[:-4], 6),
    "cut inside": (SIX[:-8], 1),
    "of more entries than there are": (SIX[:8] + b"\5\0" + SIX[10:], 6),
    "of neither order": (b"XX*\0" + SIX[4:], 1),
    "empty": (b"", 1),
}


# JPEG


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def jpeg_with(*segments: bytes, at: int = 2, **options: Any) -> bytes:
    data = saved(picture(), "JPEG", quality=95, **options)
    at = data.index(b"\xff\xda") if at < 0 else at
    return data[:at] + b"".join(segments) + data[at:]


def app1(block: bytes, name: bytes = b"Exif\0\0") -> bytes:
    return segment(0xE1, name + block)


def without(data: bytes, marker: int) -> bytes:
    """A JPEG without the segments of a kind."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        kept += b"" if data[at + 1] == marker else data[at:end]
        at = end
    return kept + data[at:]


def replaced(data: bytes, part: float, new: bytes) -> bytes:
    at = int(len(data) * part)
    return data[:at] + new + data[at + len(new) :]


# PNG


def chunk(kind: bytes, body: bytes, *, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ wrong)


def rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def header(width: int = WIDTH, height: int = HEIGHT, depth: int = 8, colours: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced))


RGB = np.asarray(picture())
PIXELS = zlib.compress(rows(RGB))


def png(*before: bytes, head: bytes | None = None, data: bytes | None = None, end: bytes | None = None) -> bytes:
    middle = chunk(b"IDAT", PIXELS) if data is None else data
    last = chunk(b"IEND", b"") if end is None else end
    return b"\x89PNG\r\n\x1a\n" + (head or header()) + b"".join(before) + middle + last


def interlaced_png() -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    body = b"".join(rows(RGB[top::down, left::right]) for top, left, down, right in passes)
    return png(head=header(interlaced=1), data=chunk(b"IDAT", zlib.compress(body)))


def wide_png(colours: int, pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits for each channel."""
    return png(head=header(depth=16, colours=colours), data=chunk(b"IDAT", zlib.compress(rows(pixels.astype(">u2")))))


def frame_control(number: int, width: int, height: int, left: int = 0, top: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 60, 1, 0, 0))


def frame_data(number: int, pixels: np.ndarray) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + zlib.compress(rows(pixels)))


TWO_FRAMES = chunk(b"acTL", struct.pack(">II", 2, 0))
SMALL = RGB[: HEIGHT // 2, : WIDTH // 2]  # red


# GIF


def gif(*parts: bytes, width: int = WIDTH, height: int = HEIGHT, end: bytes = b";") -> bytes:
    palette = b"".join(bytes(colour) for colour in COLOURS.values()).ljust(24, b"\0")
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x82, 4, 0) + palette + b"".join(parts) + end


def gif_frame(quarters: str, width: int, height: int, left: int = 0, top: int = 0, *, seconds: int = 60) -> bytes:
    """A frame of four colours, hardly compressed: the table of codes is emptied every few pixels."""
    number = {colour: index for index, colour in enumerate(COLOURS)}
    index = np.array([[number[quarters[0]], number[quarters[1]]], [number[quarters[2]], number[quarters[3]]]])
    pixels = np.repeat(np.repeat(index, height // 2, 0), width // 2, 1).ravel()
    codes = [code for at, pixel in enumerate(pixels) for code in ([8, pixel] if at % 4 == 0 else [pixel])] + [9]
    bits = sum(int(code) << 4 * at for at, code in enumerate(codes))
    packed = bits.to_bytes(len(codes) // 2 + 1, "little")
    blocks = b"".join(
        bytes([len(part)]) + part for part in (packed[at : at + 255] for at in range(0, len(packed), 255))
    )
    control = b"!\xf9\x04\x00" + struct.pack("<H", 100 * seconds) + b"\0\0"
    return control + b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\3" + blocks + b"\0"


# BMP, WebP, icons


def bmp(*, top_down: bool = False) -> bytes:
    pixels = RGB[:, :, ::-1] if top_down else RGB[::-1, :, ::-1]
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, -HEIGHT if top_down else HEIGHT, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + pixels.size, 0, 0, 54) + head + pixels.tobytes()


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def animated_webp(left: int, top: int, image: Image.Image) -> bytes:
    still = saved(image, "WEBP", lossless=True)[12:]
    place = three(left // 2) + three(top // 2) + three(image.width - 1) + three(image.height - 1)
    page = b"\2\0\0\0" + three(WIDTH - 1) + three(HEIGHT - 1)
    frame = place + three(60_000) + b"\0" + still
    return riff((b"VP8X", page), (b"ANIM", struct.pack("<IH", 0xFF0000FF, 0)), (b"ANMF", frame), (b"ANMF", frame))


def icon(kind: int = 1, **options: Any) -> bytes:
    data = saved(picture(64, 64), "ICO", **options)
    return data[:2] + bytes([kind]) + data[3:]


def formats() -> list[ShownFile]:
    """Every format in every orientation."""
    files = []
    for orientation, quarters in TURNED.items():
        size = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
        block = b"Exif\0\0" + turn(orientation)
        several = {"save_all": True, "append_images": [picture()]}
        turned = {
            "JPEG": saved(picture(), "JPEG", quality=95, exif=block),
            "MPO": saved(picture(), "MPO", quality=95, exif=block, **several),
            "CMYK JPEG": saved(picture().convert("CMYK"), "JPEG", quality=95, exif=block),
            "progressive JPEG": saved(picture(), "JPEG", quality=95, exif=block, progressive=True),
            "PNG": png(chunk(b"eXIf", turn(orientation))),
            "AVIF": saved(picture(), "AVIF", exif=block),
        }
        files += [
            ShownFile(name=f"{name}, {orientation}", data=data, quarters=quarters, size=size)
            for name, data in turned.items()
        ]
        ignored = {
            "WebP": saved(picture(), "WEBP", quality=95, exif=block),
            "lossless WebP": saved(picture(), "WEBP", lossless=True, exif=block),
        }
        files += [ShownFile(name=f"{name}, {orientation}", data=data) for name, data in ignored.items()]
    return files


def orientations() -> list[ShownFile]:
    """Orientations that are written otherwise, or elsewhere, than they should."""
    half = (WIDTH // 2, HEIGHT // 2)
    avif = saved(picture(), "AVIF", exif=b"Exif\0\0" + turn(6))
    said = {f"JPEG, EXIF {name}": (jpeg_with(app1(block)), turned) for name, (block, turned) in ODD_EXIF.items()}
    said |= {f"PNG, EXIF {name}": (png(chunk(b"eXIf", block)), turned) for name, (block, turned) in ODD_EXIF.items()}
    said |= {
        "JPEG, EXIF right before the pixels": (jpeg_with(app1(SIX), at=-1), 6),
        "JPEG, EXIF behind the pixels": (jpeg_with()[:-2] + app1(SIX) + b"\xff\xd9", 1),
        "JPEG, two blocks": (jpeg_with(app1(SIX), app1(turn(3))), 6),
        "JPEG, two blocks, the first is damaged": (jpeg_with(app1(b"garbage"), app1(SIX)), 1),
        "JPEG, another end of the name": (jpeg_with(app1(SIX, b"Exif\0\1")), 6),
        "JPEG, XMP": (jpeg_with(xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'), 1),
        "PNG, EXIF behind the pixels": (png(end=chunk(b"eXIf", SIX) + chunk(b"IEND", b"")), 1),
        "PNG, two blocks": (png(chunk(b"eXIf", SIX), chunk(b"eXIf", turn(3))), 6),
        "PNG, a damaged block": (png(chunk(b"eXIf", SIX, wrong=1)), 1),
        "PNG, as in a JPEG": (png(chunk(b"eXIf", b"Exif\0\0" + SIX)), 1),
        "AVIF, EXIF says another": (avif.replace(turn(6)[8:22], turn(1)[8:22]), 6),
        "animated WebP": (
            saved(picture(), "WEBP", save_all=True, append_images=[picture()], exif=b"Exif\0\0" + SIX),
            1,
        ),
    }
    files = [
        ShownFile(
            name=name,
            data=data,
            quarters=TURNED[turned],
            size=(WIDTH, HEIGHT) if turned < 5 else (HEIGHT, WIDTH),
        )
        for name, (data, turned) in said.items()
    ]
    return [
        *files,
        ShownFile(name="JPEG, 144 to the inch", data=jpeg_with(app1(resolution(144, 144, *half))), size=half),
        ShownFile(
            name="JPEG, 144 to the inch, turned",
            data=jpeg_with(app1(resolution(144, 144, *half, orientation=6))),
            quarters=TURNED[6],
            size=half[::-1],
        ),
        ShownFile(
            name="JPEG, more to the inch across",
            data=jpeg_with(app1(resolution(144, 72, WIDTH // 2, HEIGHT))),
            size=(WIDTH // 2, HEIGHT),
        ),
        ShownFile(name="JPEG, a size that is not its own", data=jpeg_with(app1(resolution(144, 144, 7, 5)))),
        ShownFile(name="PNG, 144 to the inch", data=png(chunk(b"eXIf", resolution(144, 144, *half)))),
    ]


def damaged() -> list[ShownFile]:
    """Files of which a browser still shows all, or a part."""
    jpeg, progressive = jpeg_with(), jpeg_with(progressive=True)
    grey, cmyk = (saved(picture().convert(mode), "JPEG", quality=95) for mode in ("L", "CMYK"))
    red_then_blank, top = "RGWW", "RG??"
    still, flipped = gif(gif_frame(UPRIGHT, WIDTH, HEIGHT)), RGB[::-1]
    wrong_filter = bytearray(rows(RGB))
    wrong_filter[(3 * WIDTH + 1) * HEIGHT // 2] = 9
    webp = saved(picture(), "WEBP", quality=95)
    return [
        ShownFile(name="JPEG without its last 2 bytes", data=jpeg[:-2], quarters="RG??"),
        ShownFile(name="JPEG without its end", data=jpeg[: len(jpeg) * 9 // 10], quarters=top),
        ShownFile(name="half a JPEG", data=jpeg[: len(jpeg) // 2], quarters="??WW"),
        ShownFile(
            name="half a JPEG, turned",
            data=jpeg_with(app1(SIX))[: len(jpeg) // 2],
            quarters="W?W?",
            size=(HEIGHT, WIDTH),
        ),
        ShownFile(name="half a grey JPEG", data=grey[: len(grey) // 2], quarters="??WW"),
        ShownFile(name="half a CMYK JPEG", data=cmyk[: len(cmyk) // 2], quarters=red_then_blank),
        ShownFile(name="half a progressive JPEG", data=progressive[: len(progressive) // 2]),
        ShownFile(name="progressive JPEG without its last 2 bytes", data=progressive[:-2]),
        ShownFile(
            name="JPEG that goes on with zeros", data=jpeg[: len(jpeg) // 2] + b"\0" * (len(jpeg) // 2), quarters="RGGG"
        ),
        ShownFile(
            name="JPEG that goes on with FF", data=jpeg[: len(jpeg) // 2] + b"\xff" * (len(jpeg) // 2), quarters="??WW"
        ),
        ShownFile(name="JPEG with an end in its middle", data=replaced(jpeg, 0.6, b"\xff\xd9"), quarters="RG??"),
        ShownFile(name="JPEG with garbage in its middle", data=replaced(jpeg, 0.6, b"\x12" * 20), quarters="RG??"),
        ShownFile(name="JPEG with garbage behind it", data=jpeg + b"garbage"),
        ShownFile(name="JPEG with another one behind it", data=jpeg + jpeg),
        ShownFile(name="JPEG without tables of codes", data=without(saved(picture(), "JPEG", quality=95), 0xC4)),
        ShownFile(name="PNG without an end", data=png(end=b"")),
        ShownFile(name="PNG without its last 20 bytes", data=png()[:-20]),
        ShownFile(name="PNG with garbage behind it", data=png() + b"garbage"),
        ShownFile(name="half a PNG", data=png()[: len(png()) // 2], quarters=red_then_blank),
        ShownFile(name="interlaced PNG", data=interlaced_png()),
        ShownFile(name="half an interlaced PNG", data=interlaced_png()[: len(interlaced_png()) // 2]),
        ShownFile(name="a twentieth of an interlaced PNG", data=interlaced_png()[: len(interlaced_png()) // 20]),
        ShownFile(name="PNG with a wrong checksum of its pixels", data=png(data=chunk(b"IDAT", PIXELS, wrong=1))),
        ShownFile(name="PNG with a wrong checksum of its time", data=png(chunk(b"tIME", b"\0" * 7, wrong=1))),
        ShownFile(name="PNG with a gamma that is cut", data=png(chunk(b"gAMA", b"abc"))),
        ShownFile(name="PNG with a pixel size that is cut", data=png(chunk(b"pHYs", b"abc"))),
        ShownFile(name="PNG with a clear colour that is cut", data=png(chunk(b"tRNS", b"\0"))),
        ShownFile(name="PNG with a text that is cut", data=png(chunk(b"zTXt", b"a\0\0garbage"))),
        ShownFile(
            name="PNG in parts of which some are empty", data=png(data=chunk(b"IDAT", b"") + chunk(b"IDAT", PIXELS))
        ),
        ShownFile(
            name="PNG with a filter that there is none of",
            data=png(data=chunk(b"IDAT", zlib.compress(bytes(wrong_filter)))),
            quarters=red_then_blank,
        ),
        ShownFile(name="half a GIF", data=still[: len(still) // 2], quarters=red_then_blank),
        ShownFile(name="GIF without an end", data=still[:-1]),
        ShownFile(name="half a BMP", data=bmp()[: len(bmp()) // 2], quarters="WWBK"),
        ShownFile(
            name="half a BMP from top to bottom", data=bmp(top_down=True)[: len(bmp()) // 2], quarters=red_then_blank
        ),
        ShownFile(name="WebP with garbage behind it", data=webp + b"garbage"),
        ShownFile(name="AVIF with garbage behind it", data=saved(picture(), "AVIF") + b"garbage"),
        ShownFile(
            name="flipped, as a control", data=png(data=chunk(b"IDAT", zlib.compress(rows(flipped)))), quarters="BKRG"
        ),
    ]


def first_frames() -> list[ShownFile]:
    """Animations, and pictures of which a frame covers a part."""
    small, place = (WIDTH // 2, HEIGHT // 2), (WIDTH // 2, HEIGHT // 2)
    hidden = png(TWO_FRAMES, data=chunk(b"IDAT", PIXELS) + frame_control(0, WIDTH, HEIGHT) + frame_data(1, RGB[::-1]))
    placed = chunk(b"IDAT", PIXELS) + frame_control(0, *small, *place) + frame_data(1, SMALL)
    shown = frame_control(0, WIDTH, HEIGHT) + chunk(b"IDAT", PIXELS)
    shown += frame_control(1, WIDTH, HEIGHT) + frame_data(2, RGB[::-1])
    red = Image.fromarray(np.ascontiguousarray(SMALL))
    frame = gif_frame(UPRIGHT, WIDTH, HEIGHT)
    return [
        ShownFile(name="PNG, animated", data=png(TWO_FRAMES, data=shown)),
        ShownFile(name="PNG, a picture for older programs", data=hidden, quarters="BKRG"),
        ShownFile(name="PNG, a first frame in a corner", data=png(TWO_FRAMES, data=placed), quarters="WWWR"),
        ShownFile(name="GIF, animated", data=gif(frame, gif_frame("KKKK", WIDTH, HEIGHT))),
        ShownFile(name="GIF, a frame in a corner", data=gif(gif_frame("RRRR", *small, *place)), quarters="WWWR"),
        ShownFile(name="GIF, larger than its page", data=gif(frame, width=10, height=10)),
        ShownFile(name="GIF, a page of no size", data=gif(frame, width=0, height=0)),
        ShownFile(
            name="GIF, a frame beyond its page",
            data=gif(gif_frame("RRRR", WIDTH, HEIGHT, *place)),
            quarters="W??R",
            size=(WIDTH * 3 // 2, HEIGHT * 3 // 2),
        ),
        ShownFile(name="WebP, animated", data=animated_webp(0, 0, picture())),
        ShownFile(name="WebP, a first frame in a corner", data=animated_webp(*place, red), quarters="WWWR"),
    ]


def others() -> list[ShownFile]:
    """What else a browser shows, and pixels of more than eight bits."""
    grey = RGB[:, :, 0].astype(np.uint16)  # bright on the left above
    see_through = np.dstack([RGB, np.repeat(np.where(np.arange(WIDTH) < WIDTH // 2, 255, 0)[None], HEIGHT, 0)])
    icons: dict[str, dict[str, Any]] = {
        "PNG": {"sizes": [(64, 64)]},
        "bitmap": {"sizes": [(64, 64)], "bitmap_format": "bmp"},
    }
    icons["of three sizes"] = {"sizes": [(16, 16), (64, 64), (32, 32)]}
    return [
        *(ShownFile(name=f"icon, {name}", data=icon(**options), size=(64, 64)) for name, options in icons.items()),
        ShownFile(name="cursor", data=icon(2, **icons["bitmap"]), size=(64, 64)),
        ShownFile(name="BMP", data=bmp()),
        ShownFile(name="BMP from top to bottom", data=bmp(top_down=True)),
        ShownFile(name="PNG of 16 bits", data=wide_png(2, RGB.astype(np.uint16) * 257)),
        ShownFile(
            name="PNG of 16 bits, see-through", data=wide_png(6, see_through.astype(np.uint16) * 257), quarters="RWBW"
        ),
        ShownFile(name="PNG of 16 bits, grey", data=wide_png(0, grey * 257), quarters="WKKK"),
        ShownFile(name="PNG of 12 in 16 bits", data=wide_png(2, RGB.astype(np.uint16) << 4), is_brightened=True),
        ShownFile(name="PNG of 10 in 16 bits", data=wide_png(2, RGB.astype(np.uint16) << 2), is_brightened=True),
        ShownFile(name="PNG of 12 in 16 bits, grey", data=wide_png(0, grey << 4), quarters="WKKK", is_brightened=True),
    ]


FILES = [*formats(), *orientations(), *damaged(), *first_frames(), *others()]

BLANK = {
    "WebP without its last byte": saved(picture(), "WEBP", quality=95)[:-1],
    "half a lossless WebP": (lambda data: data[: len(data) // 2])(saved(picture(), "WEBP", lossless=True)),
    "AVIF without its last byte": saved(picture(), "AVIF")[:-1],
    "a quarter of an AVIF": (lambda data: data[: len(data) // 4])(saved(picture(), "AVIF")),
    "JPEG without pixels": jpeg_with()[: jpeg_with().index(b"\xff\xda") + 20],
    "progressive JPEG without pixels": (lambda data: data[: data.index(b"\xff\xda")])(jpeg_with(progressive=True)),
    "PNG without pixels": png(data=b"", end=b""),
    "GIF without pixels": gif(gif_frame(UPRIGHT, WIDTH, HEIGHT))[:50],
}
"""Damaged files of which a browser shows nothing but their size, if that."""

NOT_SHOWN = {
    "TIFF": saved(picture(), "TIFF"),
    "JPEG 2000": saved(picture(), "JPEG2000"),
    "PPM": saved(picture(), "PPM"),
    "TGA": saved(picture(), "TGA"),
    "PNG with an unknown part that is critical": png(chunk(b"ABCD", b"")),
    "PNG with a wrong checksum of its header": png(head=header()[:-1] + b"x"),
    "PNG with a header that is too long": png(head=chunk(b"IHDR", header()[8:-4] + b"\0")),
    "WebP of another size than it says": riff(
        (b"VP8X", b"\0\0\0\0" + three(199) + three(99)), (b"VP8L", saved(picture(), "WEBP", lossless=True)[20:])
    ),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100,
}
"""Files that a browser takes for no picture at all."""
