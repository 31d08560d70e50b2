"""The chunks of a PNG: those that its pixels need, and no others.

A browser shows a PNG whose other chunks are damaged, and a truncated one. Of an animation it shows the first frame, which may
differ from the picture that older programs show.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from yolo_backend.errors import MediaError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_KNOWN_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_MOST_CHUNKS = 1_000_000  # that are read: a file with nothing but chunks would take long


@dataclass(frozen=True, kw_only=True)
class PNG:
    """The first frame of a PNG.

    Attributes:
        data: The frame as a file of its own.
        width: Of the canvas, in pixels.
        height: Of the canvas, in pixels.
        left: Of the frame on the canvas.
        top: Of the frame on the canvas.
        exif: The EXIF block before the pixels.
        is_interlaced: The frame is stored in several passes.
        has_wide_colours: Its pixels have several channels of 16 bits each.
    """

    data: bytes
    width: int
    height: int
    left: int
    top: int
    exif: bytes | None
    is_interlaced: bool
    has_wide_colours: bool


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colours: int
    compression: int
    filter: int
    interlace: int


def read(data: bytes) -> PNG:
    """Read the chunks of a PNG, as far as it goes.

    Raises:
        MediaError: no browser shows it.
    """
    header: _Header | None = None
    kept: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    frame_pixels: list[memoryview] = []
    frame: tuple[int, int, int, int] | None = None
    is_animation = pixels_are_first_frame = False
    for kind, body, is_whole in _chunks(data):
        if header is None:
            if kind != b"IHDR" or len(body) != 13 or not is_whole:
                raise MediaError("the PNG is damaged or incomplete (its header can't be read)")
            header = _Header(*struct.unpack(">IIBBBBB", body))
        elif kind == b"IDAT":
            pixels.append(body)
        elif kind == b"fdAT" and frame is not None and not pixels_are_first_frame:
            frame_pixels.append(body[4:])
        elif kind == b"IEND":
            break
        elif kind == b"PLTE" and not pixels:
            kept.setdefault(kind, bytes(body[: len(body) // 3 * 3]))
        elif kind[0] & 0x20 == 0 and kind not in _KNOWN_CRITICAL:
            raise MediaError(f"the PNG has a part {kind!r} without which it can't be shown, and which is unknown here")
        elif not is_whole:
            continue
        elif kind in (b"tRNS", b"eXIf") and not pixels:
            kept.setdefault(kind, bytes(body))
        elif kind == b"acTL" and not pixels:
            is_animation = True
        elif kind == b"fcTL" and is_animation and len(body) == 26:
            if frame is not None or pixels_are_first_frame:
                break
            if pixels:
                width, height, left, top = struct.unpack(">4I", body[4:20])
                frame = (left, top, width, height)
            else:
                pixels_are_first_frame = True
    if header is None:
        raise MediaError("the PNG is damaged or incomplete (its header can't be read)")
    left, top, width, height = 0, 0, header.width, header.height
    if frame is not None and frame_pixels and _is_inside(frame, header):
        (left, top, width, height), pixels = frame, frame_pixels
    return PNG(
        data=_file(header._replace(width=width, height=height), kept, pixels),
        width=header.width,
        height=header.height,
        left=left,
        top=top,
        exif=kept.get(b"eXIf"),
        is_interlaced=bool(header.interlace),
        has_wide_colours=header.depth == 16 and header.colours not in (_GREY, _PALETTE),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Yield the kind and the content of each chunk, and whether it is complete and undamaged; pixels are not checked."""
    view = memoryview(data)
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        body, check = view[at + 8 : at + 8 + length], view[at + 8 + length : at + 12 + length]
        is_whole = len(check) == 4 and (
            kind in (b"IDAT", b"fdAT") or zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(check, "big")
        )
        yield kind, body, is_whole
        at += 12 + length


def _is_inside(frame: tuple[int, int, int, int], header: _Header) -> bool:
    left, top, width, height = frame
    return 0 < width <= header.width - left and 0 < height <= header.height - top


def _file(header: _Header, kept: dict[bytes, bytes], pixels: list[memoryview]) -> bytes:
    parts: list[bytes | memoryview] = [SIGNATURE, *_chunk(b"IHDR", [struct.pack(">IIBBBBB", *header)])]
    if palette := kept.get(b"PLTE"):
        # In a browser pixels beyond the palette have its last colour.
        colours = 2 ** min(header.depth, 8)
        parts += _chunk(b"PLTE", [(palette + palette[-3:] * colours)[: 3 * colours]])
    clear = kept.get(b"tRNS", b"")
    if header.colours == _GREY and header.depth in (2, 4) and len(clear) == 2:
        # Pillow compares it with shades that are scaled to eight bits.
        clear = struct.pack(">H", int.from_bytes(clear, "big") * 255 // (2**header.depth - 1) & 0xFFFF)
    if len(clear) >= {_GREY: 2, 2: 6, _PALETTE: 1}.get(header.colours, 257):
        parts += _chunk(b"tRNS", [clear[:256]])
    return b"".join((*parts, *_chunk(b"IDAT", pixels), *_chunk(b"IEND", [])))


def _chunk(kind: bytes, parts: list[bytes] | list[memoryview]) -> list[bytes | memoryview]:
    check = zlib.crc32(kind)
    for part in parts:
        check = zlib.crc32(part, check)
    return [struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", check)]
