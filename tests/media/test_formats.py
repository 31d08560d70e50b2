from __future__ import annotations

import io

import pytest
from PIL import Image

from yolo_backend.media.formats import is_web_page, kind_of


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", None),
        (b"\0\1\2\3", None),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"BM\x36\0\0\0", "a BMP"),
        (b"II*\0", "a TIFF"),
        (b"MM\0*", "a TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "an AVIF image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "an MP4 video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a QuickTime video"),
        (b"\x1aE\xdf\xa3\x9fB\x86", "a Matroska or WebM video"),
        (b"RIFF\x24\0\0\0AVI LIST", "an AVI video"),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"\xff\x0a\xfa", "a JPEG XL image"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg>', "an SVG drawing"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "an XML file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf\r\n <HTML lang=en>", "a web page"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html xmlns="x">', "a web page"),
        (b'{"detail": "x"}', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a text file"),
        ("猫".encode() * 500, "a text file"),
        (b"caf\xe9", "a text file"),
        (b"\xe9\xe8" * 600, None),
    ],
)
def test_kind_of(head: bytes, expected: str | None) -> None:
    assert kind_of(head) == expected
    assert is_web_page(head) == (expected == "a web page")


@pytest.mark.parametrize(
    ("pillow_format", "expected"),
    [
        ("JPEG", "a JPEG"),
        ("PNG", "a PNG"),
        ("GIF", "a GIF"),
        ("WEBP", "a WebP"),
        ("BMP", "a BMP"),
        ("TIFF", "a TIFF"),
        ("AVIF", "an AVIF image"),
        ("ICO", "a Windows icon"),
        ("JPEG2000", "a JPEG 2000 image"),
    ],
)
def test_real_files(pillow_format: str, expected: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, pillow_format)
    assert kind_of(buffer.getvalue()) == expected
