"""The chunks of a WebP: its first frame as a file of its own, which takes less than half the memory to decode."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from yolo_backend.errors import MediaError

_LOSSLESS, _LOSSY = b"VP8L", b"VP8 "
_HAS_ALPHA = 0x10


@dataclass(frozen=True, kw_only=True)
class WebP:
    """The first frame of a WebP.

    Attributes:
        data: The frame as a file of its own.
        width: Of the canvas, in pixels.
        height: Of the canvas, in pixels.
        left: Of the frame on the canvas.
        top: Of the frame on the canvas.
    """

    data: bytes
    width: int
    height: int
    left: int
    top: int


def read(data: bytes) -> WebP:
    """Read the chunks of a WebP.

    Raises:
        MediaError: no browser shows it; a truncated one stays blank.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise MediaError(f"the WebP is damaged or incomplete (it has {len(data)} of {end} bytes)")
    canvas: tuple[int, int] | None = None
    alpha = b""
    for kind, body in _chunks(memoryview(data)[12:end]):
        if kind == b"VP8X" and len(body) >= 10:
            canvas = _size(body[4:])
        elif kind == b"ALPH":
            alpha = bytes(body)
        elif kind in (_LOSSLESS, _LOSSY):
            frame, size = _still(kind, body, alpha)
            if canvas not in (None, size):
                break
            return WebP(data=frame, width=size[0], height=size[1], left=0, top=0)
        elif kind == b"ANMF" and canvas is not None and len(body) > 16:
            alpha = b""
            for part, content in _chunks(body[16:]):
                if part == b"ALPH":
                    alpha = bytes(content)
                elif part in (_LOSSLESS, _LOSSY):
                    frame, size = _still(part, content, alpha)
                    left, top = 2 * _number(body[0:3]), 2 * _number(body[3:6])
                    if size != _size(body[6:]) or left + size[0] > canvas[0] or top + size[1] > canvas[1]:
                        break
                    return WebP(data=frame, width=canvas[0], height=canvas[1], left=left, top=top)
            break
    raise MediaError("the WebP is damaged or incomplete (it has no frame that can be read)")


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(view):
        kind, length = struct.unpack_from("<4sI", view, at)
        yield kind, view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _still(kind: bytes, body: memoryview, alpha: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return a file of one frame, and its size."""
    if kind == _LOSSLESS:
        if len(body) < 5 or body[0] != 0x2F:
            raise MediaError("the WebP is damaged or incomplete (its header can't be read)")
        bits = int.from_bytes(body[1:5], "little")
        return _file((kind, body)), ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if len(body) < 10 or bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise MediaError("the WebP is damaged or incomplete (its header can't be read)")
    width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    if not width or not height:
        raise MediaError("the WebP is damaged or incomplete (it has no size)")
    if not alpha:
        return _file((kind, body)), (width, height)
    canvas = struct.pack("<I", _HAS_ALPHA) + b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return _file((b"VP8X", canvas), (b"ALPH", alpha), (kind, body)), (width, height)


def _file(*chunks: tuple[bytes, bytes | memoryview]) -> bytes:
    parts: list[bytes | memoryview] = []
    for kind, body in chunks:
        parts += [struct.pack("<4sI", kind, len(body)), body, b"\0" * (len(body) % 2)]
    return b"".join([struct.pack("<4sI4s", b"RIFF", 4 + sum(map(len, parts)), b"WEBP"), *parts])


def _size(view: memoryview) -> tuple[int, int]:
    return _number(view[0:3]) + 1, _number(view[3:6]) + 1


def _number(view: memoryview) -> int:
    return int.from_bytes(view, "little")
