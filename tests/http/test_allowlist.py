"""Which servers the setting ``MEDIA_HOSTS`` lets through."""

from __future__ import annotations

import pytest

from yolo_backend.errors import ConfigError, MediaError
from yolo_backend.http.allowlist import check
from yolo_backend.settings import load_settings
from yolo_backend.settings.hosts import parse_hosts

LABEL_STUDIO = ("http", "ls", 8080)
PUBLIC, PRIVATE = "93.184.215.14", "10.1.2.3"


@pytest.mark.parametrize(
    ("text", "origin", "address", "allowed"),
    [
        ("public", ("http", "h", 80), PUBLIC, True),
        ("public", ("http", "h", 80), PRIVATE, False),
        ("public", ("https", "h", 443), "2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("*", ("http", "h", 80), PRIVATE, True),
        ("none", ("http", "h", 80), PUBLIC, False),
        ("", ("http", "h", 80), PUBLIC, False),
        ("h", ("http", "h", 80), PUBLIC, True),
        ("h", ("http", "h", 80), PRIVATE, True),
        ("h", ("http", "other", 80), PUBLIC, False),
        ("h, public", ("http", "other", 80), PUBLIC, True),
        ("h:9000", ("http", "h", 9000), PRIVATE, True),
        ("h:9000", ("http", "h", 80), PRIVATE, False),
        ("H", ("http", "h", 80), PRIVATE, True),
        ("bücher.example", ("http", "xn--bcher-kva.example", 80), PRIVATE, True),
        ("*.example.com", ("http", "a.b.example.com", 80), PRIVATE, True),
        ("*.example.com", ("http", "example.com", 80), PRIVATE, False),
        ("*.example.com", ("http", "badexample.com", 80), PRIVATE, False),
        ("10.0.0.0/8", ("http", "h", 80), PRIVATE, True),
        ("10.0.0.0/8", ("http", "h", 80), "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", ("http", "h", 80), "11.1.2.3", False),
        ("10.1.2.3:81", ("http", "h", 80), PRIVATE, False),
        ("10.1.2.3:81", ("http", "h", 81), PRIVATE, True),
        ("fd00::/8", ("http", "h", 80), "fd12::1", True),
        ("::1", ("http", "h", 80), "::1", True),
        ("[::1]:81", ("http", "h", 81), "::1", True),
        ("[::1]:81", ("http", "h", 82), "::1", False),
        ("none", LABEL_STUDIO, "127.0.0.1", True),
        ("none", ("https", "ls", 8080), "127.0.0.1", False),
        ("none", ("http", "ls", 22), "127.0.0.1", False),
    ],
)
def test_who_may_be_asked(text: str, origin: tuple[str, str, int], address: str, allowed: bool) -> None:
    hosts = parse_hosts(text, LABEL_STUDIO)
    if allowed:
        check(hosts, origin, address)
    else:
        with pytest.raises(MediaError, match="MEDIA_HOSTS doesn't allow it"):
            check(hosts, origin, address)


@pytest.mark.parametrize(
    ("label_studio", "origin", "is_label_studio", "expected"),
    [
        (None, ("http", "localhost", 8080), True, "localhost is 127.0.0.1, which is a loopback address, and .*"),
        (None, ("http", "127.0.0.1", 8080), True, "127.0.0.1 is a loop.*set LABEL_STUDIO_URL to http://127"),
        (None, ("http", "h", 8080), False, "allow it: add h:8080 to MEDIA_HOSTS if it may be contacted"),
        (LABEL_STUDIO, ("https", "ls", 443), True, "set LABEL_STUDIO_URL to https://ls:443; else add ls:443 to MED"),
        (LABEL_STUDIO, ("http", "ls", 9000), False, "allow it: add ls:9000 to MEDIA_HOSTS if it may be contacted"),
    ],
)
def test_a_refusal_names_the_remedy(
    label_studio: tuple[str, str, int] | None, origin: tuple[str, str, int], is_label_studio: bool, expected: str
) -> None:
    with pytest.raises(MediaError, match=expected):
        check(parse_hosts("public", label_studio), origin, "127.0.0.1", is_label_studio=is_label_studio)


@pytest.mark.parametrize(
    "text", ["http://h", "10.0.0.1/8", "h:port", "h:0", "h:70000", "[::1", "*.", "a b", "h/x", "*h"]
)
def test_what_is_no_list_of_hosts_stops_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_HOSTS", f"public,{text}")
    with pytest.raises(ConfigError, match=r"MEDIA_HOSTS=.* is none of: public"):
        load_settings()
