from __future__ import annotations

import pytest

from yolo_backend.errors import MediaError
from yolo_backend.http.client import canonical, redacted, shortened
from yolo_backend.settings.hosts import origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://Host", "http://host/"),
        ("HTTPS://host:443/a b/猫?q=é#f", "https://host:443/a%20b/%E7%8C%AB?q=%C3%A9#f"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://h/%7ex%2Fy", "http://h/~x%2Fy"),
        ("http://h/a/../x", "http://h/x"),
        ("http://user:p%40ss@h/", "http://user:p%40ss@h/"),
    ],
)
def test_canonical(url: str, expected: str) -> None:
    assert canonical(url) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "url", ["", "h", "http:", "http://", "http://:80/", "ftp://h/", "http://h:0x50/", "http://a\\@b/"]
)
def test_not_canonical(url: str) -> None:
    with pytest.raises(MediaError, match="not an http"):
        canonical(url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h", "http://H:80/x", True),
        ("https://h", "https://user:pass@h:443/?x", True),
        ("http://[::1]", "http://[::1]:80/", True),
        ("http://h", "https://h", False),
        ("http://h", "http://h:81", False),
        ("http://h", "http://h.example", False),
        ("http://localhost", "http://127.0.0.1", False),
        ("", "http://h", False),
    ],
)
def test_origin(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ""),
        ("http://h/x", "http://h/x"),
        ("http://user:secret@h:1/x?secret#secret", "http://h:1/x"),
        ("http://user:sec@ret@h/x", "http://h/x"),
        ("http://user:sec/ret@h/x", "a malformed address"),
        ("http://[secret", "a malformed address"),
        ("s3://b/k?secret", "s3://b/k"),
        ("/x?secret", "/x"),
        ("http://h/\x1b[31m\nx", "http://h/�[31mx"),
        ("http://h/" + "a" * 500, "http://h/" + "a" * 161 + "…" + "a" * 29),
    ],
)
def test_public(url: str, expected: str) -> None:
    assert redacted(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("", ""), ("a\nb\0\ud800", "a�b��"), ("x" * 50, "x" * 10 + "…" + "x" * 29)]
)
def test_shortened(text: str, expected: str) -> None:
    assert shortened(text, 40) == expected
