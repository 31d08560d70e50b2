"""The segments of a JPEG: what its header says, its EXIF block, and where one that was cut off can end."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from yolo_backend.errors import MediaError

_START_OF_SCAN, _END, _APP0, _APP1, _APP14 = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of headers, by the way of compression
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_NOT_FOR_PIXELS = frozenset({*range(0xE0, 0xF0), 0xFE}) - {_APP0, _APP14}  # applications' own, and comments
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
_MOST_SEGMENTS = 10_000  # of more none is looked at: a file of nothing else would take minutes
# Between markers, compressed pixels hold no FF but before a 00 or a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_EXIF = b"Exif\0"


@dataclass(frozen=True, kw_only=True)
class JPEG:
    """The header of a JPEG."""

    width: int
    height: int
    components: int
    is_progressive: bool
    exif: bytes | None
    """The block that a browser reads: the first one, if it comes before the pixels."""


class _Segment(NamedTuple):
    """One segment, from its marker to its end; the compressed pixels behind a scan's header are none."""

    marker: int
    start: int
    """Of its marker."""
    payload: int
    """Offset of what follows marker and length."""
    end: int
    """Past the end of the file if it was cut off inside."""


def read(data: bytes) -> JPEG:
    """Read the header of a JPEG.

    Raises:
        MediaError: it has none.
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
    height, width, components = struct.unpack_from(">xHHB", data, frame.payload)
    return JPEG(
        width=width, height=height, components=components, is_progressive=frame.marker in _PROGRESSIVE, exif=exif
    )


def only_pixels(data: bytes) -> bytes:
    """Return a JPEG of which a decoder reads no more than it needs.

    A progressive one gets an end in the place of what was cut off last; a decoder then gives what the scans before say.

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
        raise MediaError("nothing of its pixels is there")
    if is_progressive:
        return b"".join([*parts, data[pixels:whole].rstrip(b"\xff"), bytes((0xFF, _END))])
    return b"".join([*parts, data[pixels:]])


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments of a JPEG in order, from the one behind the marker for its start."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker, start, payload = found[1][0], found.start(), found.end()
        end = payload
        if marker not in _ALONE and marker != _END:
            end += max(int.from_bytes(data[payload : payload + 2], "big"), 2) if payload + 2 <= len(data) else 2
            payload += 2
        yield _Segment(marker, start, payload, end)
        if marker == _END:
            return
        at = end
