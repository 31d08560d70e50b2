"""``data:`` URIs (RFC 2397), read as forgivingly as a browser does."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from yolo_backend.errors import MediaError

_WHITESPACE = re.compile(r"\s+")


def read(uri: str, *, max_bytes: int) -> bytes:
    """Return the bytes that ``uri`` holds.

    Raises:
        MediaError: it is malformed, or would be larger than ``max_bytes``.
    """
    header, comma, body = uri.partition(",")
    if not comma:
        raise MediaError("no comma between the type and the data")
    is_base64 = header.rstrip().lower().endswith(";base64")
    # Percent signs triple a size and line breaks are dropped: an upper bound is enough before anything is decoded.
    smallest = (len(body) * 3 // 4 if is_base64 else len(body)) // (3 if "%" in body else 1)
    if smallest > max_bytes and not (is_base64 and any(sign in body for sign in "\r\n\t ")):
        raise MediaError(f"more than MAX_DOWNLOAD_MB allows ({max_bytes / 1e6:g})")
    data = unquote_to_bytes(body)
    if is_base64:
        data = _base64(_WHITESPACE.sub("", data.decode("latin-1")))
    if len(data) > max_bytes:
        raise MediaError(f"{len(data) / 1e6:.1f} MB, more than MAX_DOWNLOAD_MB allows ({max_bytes / 1e6:g})")
    return data


def _base64(text: str) -> bytes:
    text = text.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MediaError("not valid base64") from None
