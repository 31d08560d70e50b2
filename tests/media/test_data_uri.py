from __future__ import annotations

import pytest

from yolo_backend.errors import MediaError
from yolo_backend.media import data_uri


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
    assert data_uri.read(uri, max_bytes=6) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data:", "no comma"),
        ("data:image/png;base64", "no comma"),
        ("data:;base64,AAAAA", "not valid base64"),
        ("data:;base64,AA-_", "not valid base64"),
        ("data:;base64,AA=A", "not valid base64"),
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
        data_uri.read(uri, max_bytes=6)
