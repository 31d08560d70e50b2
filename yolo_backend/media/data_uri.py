"""``data:`` URIs (RFC 2397), read as forgivingly as a browser does."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

from yolo_backend.errors import MediaError

_WHITESPACE = re.compile(r"\s+")


def read(uri: str, *, max_bytes: int) -> bytes:
    """Return the content of ``uri``.

    Raises:
        MediaError: it is malformed, or larger than ``max_bytes``, which is checked before anything is decoded.
    """
    header, comma, body = uri.partition(",")
    if not comma:
        raise MediaError("no comma between the type and the data")
    try:
        if header.rstrip().lower().endswith(";base64"):
            return _base64(unquote(body) if "%" in body else body, max_bytes)
        _check_size(len(body) - 2 * body.count("%"), max_bytes)  # each %XX is one byte
        return unquote_to_bytes(body)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
        raise MediaError("the data holds half a surrogate pair, which is no character") from None


def _base64(text: str, max_bytes: int) -> bytes:
    text = _WHITESPACE.sub("", text).rstrip("=")
    _check_size(len(text) * 3 // 4, max_bytes)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MediaError("not valid base64") from None


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise MediaError(f"{size / 1e6:.1f} MB, more than MAX_DOWNLOAD_MB allows ({max_bytes / 1e6:g})")
