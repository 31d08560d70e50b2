"""Recognises the kind of a file by its first bytes, to decode it or to say that it is no image or video."""

from __future__ import annotations

WEB_PAGE = "a web page"

_SIGNATURES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x00\x00\x02\x00", "a Windows cursor"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"RIFF....AVI ", "an AVI video"),
    (b"RIFF....WEBP", "a WebP"),
)
_BRANDS = (  # of the ISO base media file format, in the order of their precedence
    ((b"avif", b"avis"), "an AVIF image"),
    ((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC image"),
    ((b"crx ",), "a camera raw file"),
    ((b"qt  ",), "a QuickTime video"),
)


def kind_of(head: bytes) -> str | None:
    """Return the kind of a file that starts with ``head``, with its article; ``None`` if it is unknown."""
    for signature, kind in _SIGNATURES:
        if len(head) >= len(signature) and all(
            expected in (ord("."), actual) for expected, actual in zip(signature, head, strict=False)
        ):
            return kind
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[i : i + 4] for i in range(8, min(size, len(head)), 4)}
        return next((kind for names, kind in _BRANDS if brands.intersection(names)), "an MP4 video")
    return _text_kind(head)


def is_web_page(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is HTML."""
    return kind_of(head) == WEB_PAGE


def _text_kind(head: bytes) -> str | None:
    text = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return WEB_PAGE
    if text.startswith((b"<?xml", b"<!--", b"<svg", b"<!doctype svg")):
        return WEB_PAGE if b"<html" in text else "an SVG drawing" if b"<svg" in text else "an XML file"
    if text.startswith((b"{", b"[")):
        return "a JSON file"
    try:
        decoded = head[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head[:1024]) - 3:  # else a character was cut in two
            return None
        decoded = head[: error.start].decode("utf-8")
    return "a text file" if decoded and all(c.isprintable() or c in "\r\n\t\f" for c in decoded) else None
