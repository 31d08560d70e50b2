"""Downloads from a real server that is slow, wrong, hostile or gone; and which of its requests held a token."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import answer
from yolo_backend.errors import MediaError
from yolo_backend.label_studio import credentials
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.media.beneath import open_beneath
from yolo_backend.media.fetch import MAX_REDIRECTS, open_regular_file, stream
from yolo_backend.media.sources import OnDisk, locate
from yolo_backend.settings import Settings

LEGACY = "0123456789abcdef0123456789abcdef01234567"
TOKEN = f"Token {LEGACY}"
PATH = "/data/upload/1/x.jpg"
LIMIT = 300_000  # bytes


def picture_file() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, "PNG")
    return buffer.getvalue()


BODY = picture_file()


class Client:
    """A loader and a Label Studio of which one server is the real address."""

    def __init__(self, url: str | None, key: str | None = LEGACY, **settings: Any) -> None:
        settings = {"max_download_mb": LIMIT / 1e6, "download_timeout": 20, "connect_timeout": 5} | settings
        self.settings = Settings(label_studio_url=url, label_studio_api_key=key, **settings)
        self.loader = MediaLoader(self.settings)
        self.label_studio = LabelStudio.from_settings(self.settings)

    def fetch(self, value: object = PATH) -> bytes:
        return self.loader.fetch(value, task_id=3, label_studio=self.label_studio).data

    def error(self, value: object = PATH) -> str:
        """Return the message about ``value``, by whichever way it is asked for."""
        with pytest.raises(MediaError) as raised:
            self.fetch(value)
        texts = {str(raised.value)}
        with (
            pytest.raises(MediaError) as raised,
            self.loader.local_file(value, task_id=3, label_studio=self.label_studio),
        ):
            pass
        (text,) = texts | {str(raised.value)}
        assert LEGACY not in text
        return text


def tokens(web: Any) -> list[tuple[str, str | None]]:
    return [(asked.target.partition("?")[0], asked.headers.get("authorization")) for asked in web.asked]


@pytest.fixture(autouse=True)
def _temporary_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    yield
    assert list(directory.iterdir()) == []


def test_all_ways_to_get_it(web: Any) -> None:
    web.reply(PATH, BODY)
    client = Client(web.url)
    picture = client.loader.decode(client.loader.fetch(PATH, task_id=3, label_studio=client.label_studio))
    assert (picture.width, picture.height) == (30, 20)
    assert picture.pixels[0, 0].tolist() == [0, 0, 255]
    assert client.fetch() == BODY
    with client.loader.local_file(PATH, task_id=3, label_studio=client.label_studio) as file:
        assert file.read() == BODY
    assert tokens(web) == [(PATH, TOKEN)] * 3
    assert web.asked[0].headers["accept-encoding"] == "identity"


def test_inline_and_mounted_files_need_no_server(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(BODY)
    client = Client(None, None, local_files_document_root=tmp_path)
    for value in ("/data/local-files/?d=x.png", "data:image/png," + "".join(f"%{byte:02x}" for byte in BODY)):
        assert client.fetch(value) == BODY
        assert (
            client.loader.decode(client.loader.fetch(value, task_id=None, label_studio=client.label_studio)).width == 30
        )
        with client.loader.local_file(value, task_id=None, label_studio=client.label_studio) as file:
            assert file.read() == BODY
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "local file x: the file is empty"), (b"x" * (LIMIT + 1), "local file x: more than MAX_D")],
)
def test_mounted_file_that_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    client = Client(None, local_files_document_root=tmp_path)
    with pytest.raises(MediaError, match=expected):
        client.loader.decode(client.loader.fetch("/data/local-files/?d=x", task_id=1, label_studio=client.label_studio))


def exchanged_for_a_link(path: Path) -> None:
    """Put a link in the place of a file or a directory, to one outside that looks the same."""
    outside = path.parent.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def in_the_place_of_a_file(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


@pytest.mark.parametrize(
    ("replaced", "replace", "expected"),
    [
        ("a/b/x", Path.unlink, "no such file"),
        ("a/b/x", in_the_place_of_a_file(os.mkfifo), "not a regular file"),
        ("a/b/x", in_the_place_of_a_file(Path.mkdir), "not a regular file"),
        ("a/b/x", exchanged_for_a_link, "too many levels of symbolic links"),
        ("a/b", exchanged_for_a_link, "not a directory"),
        ("a", exchanged_for_a_link, "not a directory"),
    ],
    ids=["gone", "pipe", "directory", "link", "directory for a link", "directory above for a link"],
)
def test_mounted_file_that_is_replaced_after_it_was_found(
    replaced: str, replace: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x").write_bytes(BODY)
    client = Client(None, local_files_document_root=root)
    source = locate("/data/local-files/?d=a/b/x", task_id=1, label_studio=client.label_studio, document_root=root)
    assert isinstance(source, OnDisk)
    assert b"".join(stream(source, label_studio=client.label_studio, settings=client.settings)) == BODY
    replace(root / replaced)
    with pytest.raises(MediaError, match=f"local file a/b/x: {expected}"):
        list(stream(source, label_studio=client.label_studio, settings=client.settings))
    with pytest.raises(MediaError, match=f"local file a/b/x: {expected}"), open_regular_file(source):
        pass


@pytest.mark.parametrize(
    "parts", [(), ("",), ("..",), ("a", "..", "..", "x"), ("/etc/passwd",), ("a/../../x",), (".",)]
)
def test_names_that_would_lead_out(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "x").write_bytes(BODY)
    with pytest.raises(OSError, match="not the names of a path"):
        open_beneath(tmp_path / "root", parts)


def test_a_system_without_descriptors_of_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr("yolo_backend.media.beneath._HAS_DESCRIPTORS", False)
    root = tmp_path.resolve()
    (root / "a").mkdir()
    (root / "a" / "x").write_bytes(BODY)
    with os.fdopen(open_beneath(root, ("a", "x")), "rb") as file:
        assert file.read() == BODY
    (root / "a").rename(root / "b")
    (root / "a").symlink_to("b")
    with pytest.raises(OSError, match="replaced"):
        open_beneath(root, ("a", "x"))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"status": 404}, ": 404 Not Found: no uploads at this address: is LABEL_STUDIO_URL right, with its sub-path?"),
        ({"status": 500}, ": 500 Internal Server Error: Label Studio answers so when the file is gone"),
        (
            {"status": 401},
            ": 401 Unauthorized: LABEL_STUDIO_API_KEY was refused; legacy tokens are disabled by default",
        ),
        ({"status": 403}, ": 403 Forbidden: LABEL_STUDIO_API_KEY was refused"),
        ({"status": 304, "Content_Length": "0"}, ": 304 Not Modified"),
        ({"status": 302, "Content_Length": "0"}, ": 302 Found"),
        ({"body": b"<!DOCTYPE html><title>Log in</title>"}, ": answered with a web page, not an image or video"),
        ({"body": b" \n<html>", "Content_Type": "image/jpeg"}, ": answered with a web page, not an image or video"),
        (
            {"body": BODY, "Content_Length": "90000", "Connection": "close"},
            f"the connection ended early, after {len(BODY)} b",
        ),
        ({"body": BODY, "Content_Length": str(LIMIT + 1)}, ": 0.3 MB, more than MAX_DOWNLOAD_MB allows (0.3)"),
        (
            {"body": b"x" * (LIMIT + 1), "Content_Length": str(LIMIT + 1)},
            ": 0.3 MB, more than MAX_DOWNLOAD_MB allows (0.3)",
        ),
        ({"body": BODY, "Content_Encoding": "gzip"}, ": the compressed answer is damaged"),
    ],
)
def test_answers_that_hold_no_file(web: Any, reply: dict[str, Any], expected: str) -> None:
    def route(handler: Any, asked: Any) -> None:
        answer(handler, asked)
        handler.close_connection = True

    web.reply(PATH, **reply)
    answer, web.routes[PATH] = web.routes[PATH], route
    text = Client(web.url).error(f"{PATH}?token=secret")
    assert text.startswith(f"{web.url}{PATH}: ")
    assert expected in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", "the file is empty"),
        (b'{"detail": "no"}', "a JSON file, not an image that can be decoded here"),
        (BODY[:40], "the PNG is damaged or incomplete"),
    ],
)
def test_file_that_is_no_image(web: Any, reply: bytes, expected: str) -> None:
    web.reply(PATH, reply)
    client = Client(web.url)
    with pytest.raises(MediaError) as raised:
        client.loader.decode(client.loader.fetch(PATH, task_id=3, label_studio=client.label_studio))
    assert str(raised.value).startswith(f"{web.url}{PATH}: {expected}")


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> Callable[[Any, Any], None]:
    def route(handler: Any, asked: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        handler.wfile.write(end)
        handler.close_connection = True

    return route


def raw(*parts: bytes) -> Callable[[Any, Any], None]:
    def route(handler: Any, asked: Any) -> None:
        for part in parts:
            handler.wfile.write(part)
        handler.close_connection = True

    return route


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (chunked(BODY[:10], BODY[10:]), BODY),
        (raw(b"HTTP/1.0 200 OK\r\n\r\n", BODY), BODY),
        (raw(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), b""),
        (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
    ],
)
def test_ways_to_send_a_body(web: Any, route: Any, expected: bytes) -> None:
    web.routes[PATH] = route
    assert Client(web.url).fetch() == expected


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (chunked(b"x" * 100_000, b"x" * 100_000, b"x" * 100_001), ": more than MAX_DOWNLOAD_MB allows (0.3)"),
        (chunked(BODY, end=b""), ": the connection ended"),
        (chunked(BODY, end=b"zz\r\n"), ": the connection ended without a proper HTTP answer"),
        (raw(), ": the connection ended without a proper HTTP answer"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), ": the connection ended without a proper HTTP answer"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200), ": the connection ended without a proper HTTP answer"),
        (raw(b"HTTP/1.1 404 Gone\x1b[31m\r\nContent-Length: 0\r\n\r\n"), ": 404 Gone�[31m"),
    ],
)
def test_broken_answers(web: Any, route: Any, expected: str) -> None:
    web.routes[PATH] = route
    assert expected in Client(web.url).error()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_server_that_dribbles_is_left_at_the_deadline(web: Any, start: bytes) -> None:
    """Every byte that arrives would start the timeout of the socket anew."""
    left = threading.Semaphore(0)

    def dribble(handler: Any, asked: Any) -> None:
        handler.wfile.write(start)
        try:
            for _ in range(1000):  # ten seconds; then the answer is another one
                handler.wfile.write(b"x")
                threading.Event().wait(0.01)
        except OSError:
            left.release()

    web.routes[PATH] = dribble
    with pytest.raises(MediaError, match=f"{PATH}: took longer than DOWNLOAD_TIMEOUT allows"):
        Client(web.url, download_timeout=0.2).fetch()
    assert left.acquire(timeout=5), "the connection is closed as well"


def test_a_server_that_says_nothing(web: Any) -> None:
    done = threading.Event()
    web.routes[PATH] = lambda handler, asked: done.wait(10)
    with pytest.raises(MediaError, match=f"{PATH}: took longer than DOWNLOAD_TIMEOUT allows"):
        Client(web.url, download_timeout=0.2).fetch()
    done.set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/x?secret", "http://127.0.0.1:1/x: connection refused; in a container, localhost is"),
        ("http://nowhere.invalid/x?secret", "http://nowhere.invalid/x: the host name is unknown here"),
        ("http://a..b/x?secret", "http://a..b/x: not an address that can be opened"),
    ],
)
@pytest.mark.usefixtures("web")
def test_no_connection(url: str, expected: str) -> None:
    text = Client(None, None).error(url)
    assert expected in text
    assert "secret" not in text


@pytest.mark.usefixtures("web")
def test_a_server_that_does_not_take_the_connection() -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than its queue holds
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/x"
        with pytest.raises(MediaError, match=f"{url}: no connection within CONNECT_TIMEOUT"):
            Client(None, None, connect_timeout=0.2).fetch(f"{url}?secret")


def test_tls_on_a_port_that_speaks_none(web: Any) -> None:
    url = web.url.replace("http:", "https:")
    said = Client(None, None).error(f"{url}/x?secret")
    assert f"{url}/x: no secure connection: the server doesn't speak TLS on this port; use http://" in said


def test_a_kept_connection_that_was_closed_is_no_failure(web: Any) -> None:
    """The server closes after the first answer without saying so, as it may at any time."""
    answers = []

    def route(handler: Any, asked: Any) -> None:
        answers.append(asked)
        if len(answers) == 2:
            handler.close_connection = True
            return
        answer(handler, BODY)

    web.routes[PATH] = route
    client = Client(web.url)
    assert client.fetch() == client.fetch() == BODY
    assert len(answers) == 3


def test_connections_are_kept(web: Any) -> None:
    ports = set()

    def route(handler: Any, asked: Any) -> None:
        ports.add(handler.client_address)
        answer(handler, BODY)

    web.routes[PATH] = route
    client = Client(web.url)
    assert [client.fetch() for _ in range(10)] == [BODY] * 10
    assert len(ports) == 1


# Redirects and tokens


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_does_not_follow_a_redirect_to_another_origin(web: Any, make_web: Any, status: int) -> None:
    storage = make_web()
    storage.reply("/presigned", BODY)
    web.reply("/tasks/3/resolve/", status=status, Location=f"{storage.url}/presigned?signature=secret")
    assert Client(web.url).fetch("s3://bucket/x.png") == BODY
    assert tokens(web) == [("/tasks/3/resolve/", TOKEN)]
    assert tokens(storage) == [("/presigned", None)]
    assert storage.asked[0].target == "/presigned?signature=secret"


def test_another_name_of_the_same_server_is_another_origin(web: Any) -> None:
    web.reply(PATH, status=302, Location=f"{web.other_origin}/there")
    web.reply("/there", BODY)
    assert Client(web.url).fetch() == BODY
    assert tokens(web) == [(PATH, TOKEN), ("/there", None)]


def test_a_token_follows_a_redirect_within_label_studio(web: Any) -> None:
    web.reply(PATH, status=302, Location="../2/猫.jpg".encode().decode("latin-1"))
    web.reply("/data/upload/2/%E7%8C%AB.jpg", BODY)
    assert Client(web.url).fetch() == BODY
    assert tokens(web) == [(PATH, TOKEN), ("/data/upload/2/%E7%8C%AB.jpg", TOKEN)]


def test_another_server_cannot_choose_what_the_token_opens(web: Any, make_web: Any) -> None:
    evil = make_web()
    evil.reply("/x", status=302, Location=f"{web.url}/api/users")
    web.reply("/api/users", b"[]")
    assert Client(web.url).fetch(f"{evil.url}/x") == b"[]"
    assert tokens(evil) == [("/x", None)]
    assert tokens(web) == [("/api/users", None)]


def test_there_and_back_again(web: Any, make_web: Any) -> None:
    evil = make_web()
    web.reply(PATH, status=302, Location=f"{evil.url}/x")
    evil.reply("/x", status=302, Location=f"{web.url}/api/users")
    web.reply("/api/users", b"[]")
    assert Client(web.url).fetch() == b"[]"
    assert tokens(web) == [(PATH, TOKEN), ("/api/users", None)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{web}/x.jpg", TOKEN),
        ("{other}/x.jpg", None),
        ("{user}/x.jpg", TOKEN),
        ("/x.jpg", TOKEN),
    ],
)
def test_token_by_address(web: Any, value: str, expected: str | None) -> None:
    web.reply("/x.jpg", BODY)
    user = web.url.replace("http://", "http://user:pass@")
    assert Client(web.url).fetch(value.format(web=web.url, other=web.other_origin, user=user)) == BODY
    assert tokens(web) == [("/x.jpg", expected)]


def test_password_in_an_address_is_for_that_server(web: Any) -> None:
    web.reply("/x.jpg", BODY)
    url = web.url.replace("http://", "http://us%40er:p%C3%A4ss@")
    assert Client(None, None).fetch(f"{url}/x.jpg") == BODY
    assert tokens(web) == [("/x.jpg", "Basic dXNAZXI6cMOkc3M=")]


def test_netrc_is_not_read(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    web.reply("/x.jpg", status=302, Location="/y.jpg")
    web.reply("/y.jpg", BODY)
    assert Client(None, None).fetch(f"{web.url}/x.jpg") == BODY
    assert tokens(web) == [("/x.jpg", None), ("/y.jpg", None)]


def test_cookies_are_not_kept(web: Any) -> None:
    web.reply("/x.jpg", BODY, Set_Cookie="sessionid=1; Path=/")
    client = Client(web.url)
    client.fetch("/x.jpg")
    client.fetch("/x.jpg")
    assert "cookie" not in web.asked[1].headers


def test_proxy_of_the_environment_is_used(web: Any, make_web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = make_web()
    proxy.reply("/x.jpg", BODY)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web.reply(PATH, BODY)
    client = Client(web.url)
    assert client.fetch("http://photos.example/x.jpg") == BODY
    assert client.fetch() == BODY
    assert [asked.target for asked in proxy.asked] == ["http://photos.example/x.jpg"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "http://photos.example/x.jpg: the proxy can't be used" in client.error("http://photos.example/x.jpg")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/r", f": more than {MAX_REDIRECTS} redirects"),
        ("file:///etc/passwd", "/r: redirects to file address that can't be opened"),
        ("ftp://user:secret@h/", "/r: redirects to ftp address that can't be opened"),
        ("http://h:port/secret", "address that can't be opened"),
        ("http://[/?secret", "address that can't be opened"),
        ("/gone?secret", "/r: {url}/gone: 404 Not Found"),
        ("{other}/gone?secret", "/r: {other}/gone: 404 Not Found"),
        ("{other}/locked", "/r: {other}/locked: 401 Unauthorized"),
    ],
)
def test_redirects_that_lead_nowhere(web: Any, location: str, expected: str) -> None:
    names = {"url": web.url, "other": web.other_origin}
    web.reply("/r", status=302, Location=location.format(**names))
    web.reply("/locked", status=401)
    text = Client(web.url).error("/r")
    assert expected.format(**names) in text
    assert "secret" not in text
    assert len(web.asked) <= 3 * (MAX_REDIRECTS + 1)


def test_label_studio_that_moved_to_another_port_says_what_to_set(web: Any, make_web: Any) -> None:
    """As from http to https, where the token can't follow either."""
    moved = make_web()
    web.reply(PATH, status=301, Location=f"{moved.url}{PATH}")
    moved.reply(PATH, status=401)
    assert (
        "401 Unauthorized: Label Studio redirects to this address: set LABEL_STUDIO_URL to it"
        in Client(web.url).error()
    )
    assert tokens(moved) == [(PATH, None)] * 2


@pytest.mark.parametrize(
    ("url", "key", "expected"),
    [
        (
            "{web}",
            None,
            "no token is set here and Label Studio sent none: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY",
        ),
        ("{web}", LEGACY, "LABEL_STUDIO_API_KEY was refused; legacy tokens are disabled by default"),
        ("http://elsewhere", LEGACY, "wants credentials, which are sent to LABEL_STUDIO_URL alone"),
        (None, None, "wants credentials, which are sent to LABEL_STUDIO_URL alone"),
    ],
)
def test_refusal_names_the_remedy(web: Any, url: str | None, key: str | None, expected: str) -> None:
    web.reply("/x.jpg", status=401)
    assert expected in Client(url and url.format(web=web.url), key).error(f"{web.url}/x.jpg")


def test_what_is_not_found(web: Any) -> None:
    client = Client(web.url)
    assert client.error("s3://b/k.jpg") == (
        "s3://b/k.jpg: 404 Not Found: no cloud storage of its project in Label Studio opens it"
    )
    local_file = f"{web.url}/data/local-files/ (d=x.jpg)"
    assert client.error("/data/local-files/?d=x.jpg").startswith(
        f"{local_file}: 404 Not Found: it is not there, or in no"
    )
    web.reply("/data/local-files/", status=403)
    assert "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true" in client.error("/data/local-files/?d=x.jpg")
    assert client.error(f"{web.other_origin}{PATH}") == f"{web.other_origin}{PATH}: 404 Not Found"


@pytest.mark.parametrize("status", [400, 404, 410, 500])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/data/upload/1/photo #1.jpg", "what follows # is not sent to a server: .*write %23"),
        ("/data/upload/1/#1.jpg?x=1", "what follows # is not sent to a server: .*write %23"),
        ("{other}/dir/photo#1.jpg", "what follows # is not sent to a server: .*write %23"),
        ("/data/upload/1/what?.jpg", "what follows [?] is not part of the path: .*write %3F"),
        ("/data/upload/1/a.b?c.jpeg", "what follows [?] is not part of the path: .*write %3F"),
        ("{other}/a?b.png", "what follows [?] is not part of the path: .*write %3F"),
        ("/data/local-files/?d=a/this & that.jpg", "what follows & is not part of the path: .*write %26"),
        ("/data/local-files/?d=a+b.jpg", "[+] stands for a space here: .*write %2B"),
        ("/data/local-files/?d=a #1.jpg", "what follows # .*write %23"),
    ],
)
def test_what_means_something_else_in_an_address(web: Any, value: str, expected: str, status: int) -> None:
    value = value.format(other=web.other_origin)
    paths = ("photo%20", "", "what", "a.b")
    for path in ("/dir/photo", "/data/local-files/", "/a", *(f"/data/upload/1/{name}" for name in paths)):
        web.reply(path, status=status)
    text = Client(web.url).error(value)
    assert re.search(f": {status} [^:]*: {expected}", text)
    assert "LABEL_STUDIO_URL" not in text


@pytest.mark.parametrize(
    ("value", "status", "expected"),
    [
        ("/data/upload/1/a%20b.jpg", 500, "when the file is gone; if %20 is part of the file's name .*, write %2520"),
        ("/data/upload/1/50%25.jpg", 500, "when the file is gone; if %25 is part of the file's name .*, write %2525"),
        ("/data/local-files/?d=a%23b.jpg", 404, "it is not there, .*; if %23 is part of the file's name .* %2523"),
        ("{other}/a%20b.jpg", 404, "404 Not Found: if %20 is part of the file's name as it stands, write %2520"),
        ("/data/upload/1/%E7%8C%AB.jpg", 500, "when the file is gone$"),
        ("{other}/x.jpg?v=1.2", 404, "404 Not Found$"),
        ("{other}/x?id=%20", 403, "wants credentials, which are sent to LABEL_STUDIO_URL alone$"),
    ],
)
def test_what_may_stand_for_itself(web: Any, value: str, status: int, expected: str) -> None:
    for path in ("/data/upload/1/a%20b.jpg", "/data/upload/1/50%25.jpg", "/data/upload/1/%E7%8C%AB.jpg", "/x"):
        web.reply(path, status=status)
    assert re.search(expected, Client(web.url).error(value.format(other=web.other_origin)))


@pytest.mark.parametrize(
    "value", ["{web}/data/upload/1/x.jpg", "{web}/dir/x.jpg", "{web}:1/x.jpg", "http://ls.invalid/x.jpg"]
)
@pytest.mark.parametrize(
    "reply",
    [{"status": 404}, {"body": b"<!doctype html><title>Not here</title>"}, {"status": 302, "Location": "/gone"}],
)
def test_a_server_that_the_task_or_a_template_names(web: Any, value: str, reply: dict[str, Any]) -> None:
    """That is wrong there, and not in LABEL_STUDIO_URL."""
    for path in ("/data/upload/1/x.jpg", "/dir/x.jpg"):
        web.reply(path, **reply)
    text = Client(web.url).error(value.format(web=web.url))
    assert "LABEL_STUDIO_URL" not in text


def test_another_name_of_label_studio_in_a_template(web: Any) -> None:
    web.reply(PATH, status=401)
    text = Client(web.url).error(f"{web.other_origin}{PATH}")
    assert text.endswith("; if it is Label Studio by another name, leave the server out of the address: /data/…")


def test_a_server_of_a_template_that_may_not_be_contacted(web: Any, make_web: Any) -> None:
    client = Client(web.url, media_hosts="public")
    text = client.error(f"{make_web().url}/dir/x.jpg")
    assert "127.0.0.1 is a loopback address, and MEDIA_HOSTS doesn't allow it: add 127.0.0.1:" in text
    assert "LABEL_STUDIO_URL" not in text


# Signed addresses

NOW = datetime.now(timezone.utc)
PAST, FUTURE = NOW - timedelta(days=2), NOW + timedelta(days=2)
S3_EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message>'
    b"<X-Amz-Expires>60</X-Amz-Expires><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
)


def signed(vendor: str, end: datetime) -> str:
    """The query of an address that is signed until a moment."""
    begun, seconds = f"{end - timedelta(hours=1):%Y%m%dT%H%M%SZ}", int(end.timestamp())
    return {
        "S3": f"X-Amz-Date={begun}&X-Amz-Expires=3600&X-Amz-Signature=secret",
        "Google": f"X-Goog-Date={begun}&X-Goog-Expires=3600&X-Goog-Signature=secret",
        "S3 before": f"AWSAccessKeyId=AKIASECRET&Expires={seconds}&Signature=secret",
        "CloudFront": f"Expires={seconds}&Signature=secret&Key-Pair-Id=K1",
        "Azure": f"sv=2022-11-02&se={end:%Y-%m-%dT%H:%M:%SZ}&sr=b&sp=r&sig=secret",
        "Tencent": f"q-sign-algorithm=sha1&q-sign-time=1;{seconds}&q-signature=secret",
        "Alibaba": f"x-oss-date={begun}&x-oss-expires=3600&x-oss-signature=secret",
    }[vendor]


VENDORS = ["S3", "Google", "S3 before", "CloudFront", "Azure", "Tencent", "Alibaba"]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", [400, 401, 403, 410])
@pytest.mark.parametrize("where", ["{web}", "{other}"], ids=["on Label Studio's own address", "elsewhere"])
def test_a_signed_address_that_has_expired(web: Any, vendor: str, status: int, where: str) -> None:
    web.reply("/bucket/x.jpg", S3_EXPIRED, status=status, Content_Type="application/xml")
    server = where.format(web=web.url, other=web.other_origin)
    text = Client(web.url).error(f"{server}/bucket/x.jpg?{signed(vendor, PAST)}")
    assert text.startswith(f"{server}/bucket/x.jpg: {status} ")
    assert (
        f" (AccessDenied: Request has expired): the address in the task was signed, and expired on {PAST:%Y-%m-%d %H:%M} UTC"
        in text
    )
    assert "API_KEY" not in text
    assert "secret" not in text.lower()
    assert {header for _, header in tokens(web)} == {None}, "it opens by itself"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_signed_address_that_is_refused(web: Any, vendor: str) -> None:
    web.reply(
        "/bucket/x.jpg",
        b"<Error><Code>SignatureDoesNotMatch</Code></Error>",
        status=403,
        Content_Type="text/xml; charset=utf-8",
    )
    text = Client(web.url).error(f"{web.url}/bucket/x.jpg?{signed(vendor, FUTURE)}")
    assert " (SignatureDoesNotMatch): the address in the task is signed, and its server refuses it: import" in text


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("end", [PAST, FUTURE])
def test_a_signed_address_that_label_studio_leads_to(web: Any, make_web: Any, vendor: str, end: datetime) -> None:
    storage = make_web()
    storage.reply("/x.jpg", S3_EXPIRED, status=403, Content_Type="application/xml")
    web.reply("/tasks/3/resolve/", status=302, Location=f"{storage.url}/x.jpg?{signed(vendor, end)}")
    text = Client(web.url).error("s3://bucket/x.jpg")
    assert (
        f"s3://bucket/x.jpg: {storage.url}/x.jpg: 403 Forbidden (AccessDenied: Request has expired): Label Studio has"
        in text
    )
    assert "clock of Label Studio's machine" in text


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=1",
        "X-Amz-Date=x&X-Amz-Expires=y&X-Amz-Signature=1",
        "Expires=never&Signature=1",
        "Expires=99999999999999999999&Signature=1",
        "se=soon&sig=1",
        "X-Amz-Date=20260101T000000Z&X-Amz-Expires=99999999999999999999&X-Amz-Signature=1",
        "q-signature=1",
    ],
)
def test_a_signature_whose_end_cannot_be_told(web: Any, query: str) -> None:
    web.reply("/x.jpg", status=403)
    assert "403 Forbidden: the address in the task is signed, and its server refuses it" in Client(None).error(
        f"{web.url}/x.jpg?{query}"
    )


@pytest.mark.parametrize("query", ["", "Signature=1", "sig=1", "Expires=1", "X-Amz-Expires=1"])
def test_an_address_that_is_not_signed(web: Any, query: str) -> None:
    web.reply("/x.jpg", status=403)
    assert "403 Forbidden: LABEL_STUDIO_API_KEY was refused" in Client(web.url).error(f"{web.url}/x.jpg?{query}")
    assert tokens(web)[0] == ("/x.jpg", TOKEN)


def test_token_that_was_handed_over_and_refused(web: Any) -> None:
    web.reply(PATH, status=401)
    client = Client(None, None)
    client.label_studio = LabelStudio.from_settings(client.settings, hostname=web.url, access_token=LEGACY)
    assert "the token that Label Studio sent when it connected was refused; legacy tokens" in client.error()


# Personal access tokens, against a server that checks them


class Guarded:
    """A Label Studio that opens ``PATH`` for the access token it gave last, and for no other."""

    def __init__(self, web: Any, jwt: Callable[..., str]) -> None:
        self.jwt = jwt
        self.exchanges = 0
        self.valid = ""
        self.lock = threading.Lock()
        web.routes["/api/token/refresh/"] = self.exchange
        web.routes[PATH] = self.file

    def exchange(self, handler: Any, asked: Any) -> None:
        with self.lock:
            self.exchanges += 1
            self.valid = self.jwt(token_type="access", iat=0, exp=300, jti=self.exchanges)
            body = f'{{"access": "{self.valid}"}}'.encode()
        answer(handler, body)

    def file(self, handler: Any, asked: Any) -> None:
        with self.lock:
            good = asked.headers.get("authorization") == f"Bearer {self.valid}"
        handler.send_response(200 if good else 401)
        handler.send_header("Content-Length", str(len(BODY) if good else 0))
        handler.end_headers()
        handler.wfile.write(BODY if good else b"")


@pytest.fixture
def guarded(web: Any) -> Iterator[Guarded]:
    import base64
    import json

    def jwt(**claims: object) -> str:
        return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"

    yield Guarded(web, jwt)
    credentials._exchange_for.cache_clear()


def test_personal_access_token(web: Any, guarded: Guarded) -> None:
    client = Client(web.url, guarded.jwt(token_type="refresh"))
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: client.fetch(), range(64))) == {BODY}
        assert guarded.exchanges == 1
        guarded.valid = "another one"  # as after a change of the server's secret key
        assert set(pool.map(lambda _: client.fetch(), range(64))) == {BODY}
    assert guarded.exchanges == 2


def test_file_that_stays_closed_to_a_good_token(web: Any, guarded: Guarded) -> None:
    web.reply("/other.jpg", status=401)
    client = Client(web.url, guarded.jwt(token_type="refresh"))
    with pytest.raises(MediaError, match="is a personal access token that works, but its user may not open this"):
        client.fetch("/other.jpg")
    assert guarded.exchanges == 2, "one renewal"
    assert [path for path, _ in tokens(web)].count("/other.jpg") == 2


def test_nothing_secret_in_the_log(web: Any, make_web: Any, guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    storage = make_web()
    storage.reply("/presigned", BODY)
    web.reply("/tasks/3/resolve/", status=303, Location=f"{storage.url}/presigned?signature=secret")
    pat = guarded.jwt(token_type="refresh")
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "yolo_backend"):
        client = Client(web.url, pat)
        assert client.fetch("s3://bucket/x.png") == BODY
        assert client.fetch(f"{PATH}?token=secret") == BODY
    assert caplog.records
    for secret in ("secret", "fileuri", pat, guarded.valid):
        assert secret not in caplog.text
