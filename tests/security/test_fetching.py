"""Attacks by what a task's data or ``/setup`` names: no connection is made to where nobody may ask."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from yolo_backend.errors import MediaError
from yolo_backend.label_studio import credentials
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ALLOWED = "198.51.100.7"
"""Stands for a public address, which a test must not connect to: nothing is ever there (RFC 5737)."""


class Trap:
    """Listens on all addresses of this machine and counts who comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = self._listener.getsockname()[1]
        self.visitors: list[Any] = []
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, address = self._listener.accept()
                self.visitors.append(address)
                with contextlib.suppress(OSError):
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nsecret")
                connection.close()

    def close(self) -> None:
        # Whoever came before this has been counted when it is the last in the list.
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            mine = last.getsockname()
            while not (self.visitors and self.visitors[-1][1] == mine[1]):
                time.sleep(0.001)
        self._listener.close()
        self.visitors.pop()


@pytest.fixture
def trap() -> Iterator[Trap]:
    """A server that nobody may ask; the test fails if somebody did."""
    trap = Trap()
    yield trap
    trap.close()
    assert trap.visitors == []


def fetch(value: object, *, label_studio: LabelStudio | None = None, **given: Any) -> bytes:
    """Fetch as a service with the default settings does, or with those that are given."""
    settings = Settings(**{"media_hosts": "public", "connect_timeout": 2, "download_timeout": 5, **given})
    asked = label_studio or LabelStudio.from_settings(settings)
    return MediaLoader(settings).fetch(value, task_id=1, label_studio=asked).data


@pytest.mark.usefixtures("make_web")  # no proxy of the environment
@pytest.mark.parametrize(
    "url",
    [
        # This machine, by all its names
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://LOCALHOST.:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://127.1:{port}/",
        "http://127.127.127.127:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://017700000001:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://[::1]:{port}/",
        "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/",
        "http://[::]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[::127.0.0.1]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://[2002:7f00:1::]:{port}/",
        "http://[::1%25lo]:{port}/",
        "http://①②⑦.⓪.⓪.①:{port}/",
        "http://127。0。0。1:{port}/",
        "http://ⓛocalhost:{port}/",
        "http://%31%32%37.0.0.1:{port}/",
        # Written so that one reader sees another host than the next
        "http://user@127.0.0.1:{port}/",
        "http://images.example@127.0.0.1:{port}/",
        "http://images.example:80@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@images.example/",
        "http://127.0.0.1:{port}?@images.example/",
        "http://127.0.0.1:{port}\\@images.example/",
        "http://images.example\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port};@images.example/",
        "http://a@b@127.0.0.1:{port}/",
        " http://127.0.0.1:{port}/ ",
        "HTTP://127.0.0.1:{port}/",
        "http:/127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\r\nHost: images.example",
        "http://127.0.0.1\t:{port}/",
        "https://127.0.0.1:{port}/",
        # Other ways to ask for it
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_GET",
        "dict://127.0.0.1:{port}/info",
        "ldap://127.0.0.1:{port}/",
        "tftp://127.0.0.1:{port}/x",
        "ws://127.0.0.1:{port}/",
        "jar:http://127.0.0.1:{port}!/",
        "view-source:http://127.0.0.1:{port}/",
        "http+unix://%2fvar%2frun%2fdocker.sock/images",
        "url:http://127.0.0.1:{port}/",
    ],
)
def test_this_machine_is_not_asked(trap: Trap, url: str) -> None:
    with pytest.raises(MediaError):
        fetch(url.format(port=trap.port))


@pytest.mark.usefixtures("make_web")
@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",  # of providers
        "169.254.169.254",  # what clouds tell their machines
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2001:0:7f00:1::]",
        "[100::1]",
        "[4000::1]",
    ],
)
def test_no_address_but_public_ones_is_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib3.util.connection.create_connection", None)
    with pytest.raises(MediaError, match=r"and MEDIA_HOSTS doesn't allow it: if this is your Label Studio"):
        fetch(f"http://{host}/latest/meta-data/")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Addresses by name: for each time that it is looked up, the last one from then on."""
    names: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host not in names:
            return real(host, port, *arguments, **named)
        answers = names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [answer for address in found for answer in real(address, port, *arguments, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return names


@pytest.mark.usefixtures("make_web")
@pytest.mark.parametrize(
    "answers",
    [
        [["127.0.0.1"]],
        [["::1"]],
        [["::ffff:127.0.0.1"]],
        [[ALLOWED], ["127.0.0.1"]],  # rebinding: another address for the connection than for the check
        [[ALLOWED, "127.0.0.1"]],  # the first does not answer
        [["127.0.0.1", ALLOWED]],
    ],
)
def test_the_address_that_counts_is_the_one_that_is_connected_to(
    trap: Trap, names: dict[str, list[list[str]]], answers: list[list[str]]
) -> None:
    names["images.example"] = answers
    with pytest.raises(MediaError):
        fetch(f"http://images.example:{trap.port}/", media_hosts=f"public, {ALLOWED}", connect_timeout=0.2)


@pytest.mark.usefixtures("make_web")
def test_many_addresses_that_do_not_answer_take_no_longer_than_one(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["images.example"] = [[f"198.51.100.{number}" for number in range(1, 255)]]
    tried = []

    def slow(address: tuple[str, int], timeout: float, *_: object) -> None:
        tried.append(address)
        time.sleep(timeout)
        raise TimeoutError

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    with pytest.raises(MediaError):
        fetch("http://images.example/", media_hosts="*", connect_timeout=0.1, download_timeout=0.35)
    assert len(tried) <= 4


# Redirects


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "//127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "/\\127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "data:text/plain,secret",
        "gopher://127.0.0.1:{port}/_",
    ],
)
@pytest.mark.parametrize("first", ["another server", "Label Studio"])
def test_no_redirect_leads_there(web: Any, trap: Trap, target: str, first: str) -> None:
    web.reply("/x.jpg", status=302, Location=target.format(port=trap.port))
    if first == "Label Studio":
        settings = {"label_studio_url": web.url, "label_studio_api_key": TOKEN}
    else:
        settings = {"media_hosts": f"public, 127.0.0.1:{web.server_port}"}
    with pytest.raises(MediaError) as refused:
        fetch(f"{web.url}/x.jpg", **settings)
    assert TOKEN not in str(refused.value)
    assert len(web.asked) <= 2  # what is relative for us, too


def test_the_last_of_several_redirects_is_checked_too(web: Any, trap: Trap) -> None:
    for number in range(4):
        web.reply(f"/{number}", status=307, Location=f"/{number + 1}")
    web.reply("/4", status=307, Location=f"http://127.0.0.1:{trap.port}/")
    with pytest.raises(MediaError, match="MEDIA_HOSTS doesn't allow it"):
        fetch(f"{web.url}/0", media_hosts=f"127.0.0.1:{web.server_port}")
    assert len(web.asked) == 5


# What /setup hands over


@pytest.mark.parametrize(
    "hostname",
    [
        "http://127.0.0.1:{port}",
        "http://localhost:{port}/",
        "http://[::ffff:7f00:1]:{port}",
        "http://user:pass@127.0.0.1:{port}/sub",
        "http://127.0.0.1:{port}/\r\nX-Evil: 1",
        "http://127.0.0.1:{port}/?x=",
        "file:///etc",
        "127.0.0.1:{port}",
    ],
)
@pytest.mark.parametrize("token", [TOKEN, "e30.e30.c2ln", "x\r\nX-Evil: 1", ""])
def test_an_address_that_is_handed_over_is_no_better_than_any_other(trap: Trap, hostname: str, token: str) -> None:
    settings = Settings(media_hosts="public")
    there = hostname.format(port=trap.port)
    label_studio = LabelStudio.from_settings(settings, hostname=there, access_token=token)
    with pytest.raises(MediaError):
        fetch("/data/upload/1/x.jpg", label_studio=label_studio)
    with pytest.raises(MediaError):
        fetch("s3://bucket/x.jpg", label_studio=label_studio)
    with pytest.raises(MediaError):
        label_studio.call("GET", "/api/version")
    credentials._exchange_for.cache_clear()
    credentials.warn_once.cache_clear()


def test_the_key_of_the_settings_is_for_nobody_else(web: Any) -> None:
    settings = Settings(media_hosts="*", label_studio_api_key=TOKEN)
    label_studio = LabelStudio.from_settings(settings, hostname=web.url, access_token="theirs")
    with pytest.raises(MediaError):
        fetch("/data/upload/1/x.jpg", label_studio=label_studio, media_hosts="*")
    assert [asked.headers.get("authorization") for asked in web.asked] == ["Token theirs"]
    credentials.warn_once.cache_clear()


@pytest.mark.parametrize("token", ["x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX-Evil: 1", "x\0", "x y", "tökén"])
def test_a_token_brings_no_headers_of_its_own(web: Any, token: str) -> None:
    web.reply("/data/upload/1/x.jpg", b"GIF89a")
    settings = Settings(media_hosts="*")
    label_studio = LabelStudio.from_settings(settings, hostname=web.url, access_token=token)
    fetch("/data/upload/1/x.jpg", label_studio=label_studio, media_hosts="*")
    assert "authorization" not in web.asked[0].headers
    assert "x-evil" not in web.asked[0].headers
    credentials.warn_once.cache_clear()


@pytest.mark.parametrize("path", ["/x.jpg%0d%0aX-Evil:%201", "/x\r\nX-Evil: 1", "/x HTTP/1.1\nX-Evil: 1\n"])
def test_an_address_brings_no_headers_of_its_own(web: Any, path: str) -> None:
    with pytest.raises(MediaError):
        fetch(f"{web.url}{path}", media_hosts="*")
    assert all("x-evil" not in asked.headers for asked in web.asked)


# Through a proxy, which connects by itself


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "169.254.169.254", "no-such.invalid"]
)
def test_a_proxy_is_asked_for_nothing_either(web: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(MediaError, match="MEDIA_HOSTS"):
        fetch(f"http://{host}/x.jpg")
    assert web.asked == []


# Servers that hold on, or send too much


def dribble(*start: bytes) -> Callable[[Any, Any], None]:
    def route(handler: Any, asked: Any) -> None:
        with contextlib.suppress(OSError):
            for part in start:
                handler.wfile.write(part)
            for _ in range(600):
                handler.wfile.write(b"x")
                time.sleep(0.05)

    return route


@pytest.mark.parametrize(
    "start",
    [
        [b""],
        [b"HTTP/1.1 200 OK\r\nA: "],
        [b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 50],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n"],
        [b"HTTP/1.1 302 Found\r\nLocation: /x.jpg\r\nContent-Length: 9999\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: "],
    ],
)
def test_a_slow_loris_is_left(web: Any, start: list[bytes]) -> None:
    web.routes["/x.jpg"] = dribble(*start)
    with pytest.raises(MediaError, match=r"DOWNLOAD_TIMEOUT|redirects"):
        fetch(f"{web.url}/x.jpg", media_hosts="*", download_timeout=0.3)


@pytest.mark.usefixtures("make_web")
def test_a_slow_loris_in_the_handshake_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 kB begins
                for _ in range(600):
                    connection.sendall(b"\x02")
                    time.sleep(0.05)

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/x.jpg"
        with pytest.raises(MediaError, match=r"took longer|no secure connection|no connection"):
            fetch(url, media_hosts="*", connect_timeout=0.3, download_timeout=0.3)


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_compressed_is_unpacked_in_small_pieces(web: Any, layers: int) -> None:
    bomb = b"\0" * 100_000_000
    for _ in range(layers):
        bomb = gzip.compress(bomb, 9)
    web.reply("/x.jpg", bomb, Content_Encoding=", ".join(["gzip"] * layers))
    tracemalloc.start()
    try:
        with pytest.raises(MediaError, match="more than MAX_DOWNLOAD_MB allows"):
            fetch(f"{web.url}/x.jpg", media_hosts="*", max_download_mb=1)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 " + b"2" * 100_000,
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 60_000 + b"/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"\x00" * 100_000,
    ],
)
def test_answers_that_are_none_are_one_short_message(web: Any, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def route(handler: Any, asked: Any) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(answer)
        handler.close_connection = True

    web.routes["/x.jpg"] = route
    with caplog.at_level(logging.DEBUG), pytest.raises(MediaError) as refused:
        fetch(f"{web.url}/x.jpg?signature=secret", media_hosts="*", max_download_mb=1)
    assert len(str(refused.value)) < 500
    assert "secret" not in str(refused.value) + caplog.text
    assert str(refused.value).isprintable()


def test_a_password_in_an_address_is_in_no_message_and_no_log(web: Any, caplog: pytest.LogCaptureFixture) -> None:
    address = web.url.replace("http://", "http://user:secret@")
    with caplog.at_level(logging.DEBUG):
        for value in (
            f"{address}/x.jpg",
            f"{address}/x.jpg?secret",
            "http://user:secret@127.0.0.1/",
            "ftp://u:secret@h/",
        ):
            for hosts in ("public", "*"):
                with pytest.raises(MediaError) as refused:
                    fetch(value, media_hosts=hosts, connect_timeout=0.2)
                assert "secret" not in str(refused.value)
    assert not re.search("secret", caplog.text)
