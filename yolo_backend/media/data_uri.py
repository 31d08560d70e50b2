"""``data:`` URIs (RFC 2397), read as forgivingly as a browser does, and part by part: each may be the size of a request."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from yolo_backend.errors import MediaError

_WHITESPACE = b" \t\n\r\v\f"
_PART = 1 << 16  # characters


def parts(uri: str, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes that ``uri`` holds.

    Raises:
        MediaError: it is malformed, or larger than ``max_bytes``; no more than that is decoded.
    """
    comma = uri.find(",")
    if comma < 0:
        raise MediaError("no comma between the type and the data")
    decoded = _without_percent_signs(uri, comma + 1)
    if uri[:comma].rstrip().lower().endswith(";base64"):
        decoded = _without_base64(decoded)
    size = 0
    try:
        for part in decoded:
            size += len(part)
            if size > max_bytes:
                raise MediaError(f"more than MAX_DOWNLOAD_MB allows ({max_bytes / 1e6:g})")
            yield part
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
        raise MediaError("the data holds half a surrogate pair, which is no character") from None


def _without_percent_signs(text: str, start: int) -> Iterator[bytes]:
    while start < len(text):
        end = start + _PART
        # Three characters with a percent sign stay together.
        sign = text.find("%", max(end - 2, start), end)
        if sign > start:
            end = sign
        yield unquote_to_bytes(text[start:end])
        start = end


def _without_base64(encoded: Iterator[bytes]) -> Iterator[bytes]:
    left = b""
    for part in encoded:
        left += part.translate(None, _WHITESPACE)
        characters = left.rstrip(b"=")
        if b"=" in characters:
            raise MediaError("not valid base64")
        whole = len(characters) // 4 * 4
        yield _decoded(characters[:whole])
        # What is padded has its end, whatever comes.
        left = characters[whole:] + b"=" * (len(characters) < len(left))
    characters = left.rstrip(b"=")
    yield _decoded(characters + b"=" * (-len(characters) % 4))


def _decoded(characters: bytes) -> bytes:
    try:
        return base64.b64decode(characters, validate=True)
    except (binascii.Error, ValueError):
        raise MediaError("not valid base64") from None
