"""The segments of a JPEG: its header, its EXIF block, and the end of a truncated one."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from yolo_backend.errors import MediaError

_START_OF_SCAN, _END, _APP0, _APP1, _APP14 = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of headers, one for each kind of compression
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_NOT_FOR_PIXELS = frozenset({*range(0xE0, 0xF0), 0xFE}) - {_APP0, _APP14}  # applications' own, and comments
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
_MOST_SEGMENTS = 10_000  # that are read: a file with nothing but segments would take minutes
_MOST_SCANS = 200  # of a progressive one, usually ten: each goes over all pixels, and a file of 1 MB may have thousands
# In compressed pixels FF stands only before 00 or a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_EXIF = b"Exif\0"


@dataclass(frozen=True, kw_only=True)
class JPEG:
    """The header of a JPEG.

    Attributes:
        width: In pixels, as stored.
        height: In pixels, as stored.
        components: Channels of the compressed pixels.
        is_progressive: The pixels are compressed in several scans.
        exif: The block that a browser reads: the first one before the pixels.
    """

    width: int
    height: int
    components: int
    is_progressive: bool
    exif: bytes | None


class _Segment(NamedTuple):
    """A segment from its marker to its end. The compressed pixels after a scan's header belong to no segment.

    Attributes:
        marker: Its kind.
        start: The offset of its marker.
        payload: The offset after marker and length.
        end: Its end, past the end of the file if the segment is truncated.
    """

    marker: int
    start: int
    payload: int
    end: int


def read(data: bytes) -> JPEG:
    """Read the header of a JPEG.

    Raises:
        MediaError: it has none, or a progressive one has very many scans.
    """
    exif: bytes | None = None
    frame: _Segment | None = None
    for segment in _segments(data):
        if segment.marker == _START_OF_SCAN:
            break
        if segment.marker in _FRAMES:
            frame = frame or segment
        elif segment.marker == _APP1 and exif is None and data.startswith(_EXIF, segment.payload):
            exif = data[segment.payload + len(_EXIF) + 1 : segment.end]
    if frame is None or frame.end > len(data) or frame.end < frame.payload + 6:
        raise MediaError("the JPEG is damaged or incomplete (its header can't be read)")
    is_progressive = frame.marker in _PROGRESSIVE
    if is_progressive and (scans := data.count(bytes((0xFF, _START_OF_SCAN)))) > _MOST_SCANS:
        raise MediaError(
            f"the JPEG has {scans} scans, more than any camera or program writes ({_MOST_SCANS} are decoded)"
        )
    height, width, components = struct.unpack_from(">xHHB", data, frame.payload)
    return JPEG(width=width, height=height, components=components, is_progressive=is_progressive, exif=exif)


def minimal_jpeg(data: bytes) -> bytes:
    """Return a JPEG with nothing but the segments that a decoder needs.

    A truncated progressive one ends before its incomplete segment; a decoder then uses the scans before that.

    Raises:
        MediaError: it has no pixels.
    """
    parts, whole, pixels = [data[:2]], len(data), None
    is_progressive = False
    for segment in _segments(data):
        if segment.end > len(data):
            whole = segment.start
            break
        if segment.marker == _START_OF_SCAN and pixels is None:
            pixels = segment.start
            if not is_progressive:
                break
        elif pixels is None and segment.marker not in _NOT_FOR_PIXELS:
            is_progressive = is_progressive or segment.marker in _PROGRESSIVE
            parts.append(data[segment.start : segment.end])
    if pixels is None:
        raise MediaError("it has no pixels that can be decoded")
    if is_progressive:
        return b"".join([*parts, data[pixels:whole].rstrip(b"\xff"), bytes((0xFF, _END))])
    return b"".join([*parts, data[pixels:]])


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments of a JPEG in order, from the one after the start marker."""
    offset = 2
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(data, offset)
        if match is None:
            return
        marker, start, payload = match[1][0], match.start(), match.end()
        end = payload
        if marker not in _ALONE and marker != _END:
            end += max(int.from_bytes(data[payload : payload + 2], "big"), 2) if payload + 2 <= len(data) else 2
            payload += 2
        yield _Segment(marker, start, payload, end)
        if marker == _END:
            return
        offset = end
