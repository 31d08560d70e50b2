from __future__ import annotations

import base64
from urllib.parse import quote_from_bytes

import numpy as np
import pytest

from yolo_backend.errors import MediaError
from yolo_backend.media import data_uri


def read(uri: str, max_bytes: int = 6) -> bytes:
    return b"".join(data_uri.parts(uri, max_bytes=max_bytes))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        pytest.param("data:,", b"", id="empty"),
        pytest.param("data:;base64,", b"", id="empty base64"),
        pytest.param("data:image/png;base64,AAEC/+8=", b"\0\1\2\xff\xef", id="base64"),
        pytest.param("data:image/png;charset=utf-8;base64,AAEC/+8=", b"\0\1\2\xff\xef", id="more parameters"),
        pytest.param("DATA:image/png;BASE64,AAEC/+8", b"\0\1\2\xff\xef", id="capitals, no padding"),
        pytest.param("data:image/png;base64,AAEC%2F%2B8%3D", b"\0\1\2\xff\xef", id="base64 in percent signs"),
        pytest.param("data:image/png;base64, AA\r\n EC/+8=\n", b"\0\1\2\xff\xef", id="base64 in lines"),
        pytest.param("data:image/gif,%00%01a%ff%2C,", b"\0\1a\xff,,", id="percent signs"),
        pytest.param("data:text/plain,100%", b"100%", id="a bare percent sign"),
        pytest.param("data:text/plain,猫", "猫".encode(), id="not ASCII"),
    ],
)
def test_read(uri: str, expected: bytes) -> None:
    assert read(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data:", "no comma"),
        ("data:image/png;base64", "no comma"),
        ("data:;base64,AAAAA", "not valid base64"),
        ("data:;base64,AA-_", "not valid base64"),
        ("data:;base64,AA=A", "not valid base64"),
        ("data:;base64,AAA=A", "not valid base64"),
        ("data:;base64,AAA=" + " " * (1 << 17) + "A", "not valid base64"),
        ("data:;base64,AAAA=" + " " * (1 << 17) + "A", "not valid base64"),
        ("data:;base64,猫", "not valid base64"),
        ("data:;base64,%ff", "not valid base64"),
        ("data:,\ud800", "half a surrogate pair"),
        ("data:;base64," + "A" * 12, "more than MAX_DOWNLOAD_MB"),
        ("data:;base64," + "%41" * 12, "more than MAX_DOWNLOAD_MB"),
        ("data:;base64," + "A\n" * 12, "more than MAX_DOWNLOAD_MB"),
        ("data:," + "%00" * 7, "more than MAX_DOWNLOAD_MB"),
        ("data:,1234567", "more than MAX_DOWNLOAD_MB"),
    ],
)
def test_refused(uri: str, expected: str) -> None:
    with pytest.raises(MediaError, match=expected):
        read(uri)


def written(content: bytes, how: str) -> str:
    """A URI of some bytes."""
    if how == "base64":
        return "data:image/png;base64," + base64.b64encode(content).decode()
    if how == "base64 in lines":
        return "data:;base64," + base64.encodebytes(content).decode()
    if how == "base64 in percent signs":
        return "data:;base64," + "".join(f"%{byte:02x}" for byte in base64.b64encode(content))
    if how == "quoted":
        return "data:," + quote_from_bytes(content)
    return "data:," + "".join(f"%{byte:02X}" for byte in content)


@pytest.mark.parametrize("how", ["base64", "base64 in lines", "base64 in percent signs", "quoted", "percent signs"])
@pytest.mark.parametrize("size", [0, 1, 2, 49_151, 49_152, 65_535, 65_536, 65_537, 200_001])
def test_large(how: str, size: int) -> None:
    """At every border of the parts that it is read in."""
    content = np.random.default_rng(size).bytes(size)
    assert read(written(content, how), max_bytes=size) == content
    if size:
        with pytest.raises(MediaError, match="more than MAX_DOWNLOAD_MB"):
            read(written(content, how), max_bytes=size - 1)


@pytest.mark.parametrize("shift", range(4))
def test_percent_signs_at_the_borders(shift: int) -> None:
    assert (
        read("data:," + "a" * shift + "%41" * 100_000 + "%", max_bytes=200_000) == b"a" * shift + b"A" * 100_000 + b"%"
    )
