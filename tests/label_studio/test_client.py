"""Which token goes where, and how a personal access token becomes one."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import answer
from yolo_backend.errors import AnswerTooLargeError, LabelStudioAwayError, MediaError
from yolo_backend.label_studio import credentials as module
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.credentials import RETRY_AFTER
from yolo_backend.settings import Settings

LEGACY = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
URL = "http://label-studio:8080"
THREADS = 16
LIFETIME = 300  # seconds, as Label Studio's access tokens have it


def jwt(**claims: object) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


PAT = jwt(token_type="refresh", exp=8071334400, iat=864134400, user_id="1")


def settings(url: str | None = None, key: str | None = None, **more: Any) -> Settings:
    return Settings(label_studio_url=url, label_studio_api_key=key, **more)


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    yield
    module.warn_once.cache_clear()
    module._exchange_for.cache_clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """``clock.ahead`` seconds are added to the time that tokens are judged by."""
    clock = SimpleNamespace(ahead=0.0, time=time.time)
    clock.monotonic = lambda: time.monotonic() + clock.ahead
    monkeypatch.setattr(module, "time", clock)
    return clock


class TokenRoom:
    """Label Studio's ``/api/token/refresh/``: every exchange gives another access token."""

    def __init__(self, web: Any, *, path: str = "/api/token/refresh/", lifetime: float = LIFETIME) -> None:
        self.given: list[str] = []
        self.lifetime = lifetime
        self._lock = threading.Lock()
        web.routes[path] = self.exchange

    def exchange(self, handler: Any, asked: Any) -> None:
        assert asked.method == "POST"
        assert "authorization" not in asked.headers
        if json.loads(asked.body) != {"refresh": PAT}:
            handler.send_error(401)
            return
        with self._lock:
            issued = int(time.time())
            self.given.append(jwt(token_type="access", jti=len(self.given), iat=issued, exp=issued + self.lifetime))
            body = json.dumps({"access": self.given[-1]}).encode()
        answer(handler, body)


def at_once(work: Callable[[], Any]) -> list[Any]:
    """Return what ``work`` gives in many threads that all start at the same moment."""
    barrier = threading.Barrier(THREADS)

    def run(_: int) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize(
    ("url", "key", "hostname", "token", "expected_url", "expected"),
    [
        pytest.param(None, None, None, None, None, {}, id="nothing known"),
        pytest.param(None, None, "", "", None, {}, id="nothing handed over"),
        pytest.param(URL, None, None, None, URL, {}, id="address without credentials"),
        pytest.param(URL, LEGACY, None, None, URL, {URL: f"Token {LEGACY}"}, id="settings alone"),
        pytest.param(URL, f" {LEGACY}\n", None, None, URL, {URL: f"Token {LEGACY}"}, id="pasted with a line break"),
        pytest.param(URL, LEGACY, "http://ls:1", OTHER, URL, {URL: f"Token {LEGACY}"}, id="settings win"),
        pytest.param(URL, None, "http://ls:1", OTHER, URL, {URL: f"Token {OTHER}"}, id="their token, our address"),
        pytest.param(
            None, None, "http://ls:1", OTHER, "http://ls:1", {"http://ls:1": f"Token {OTHER}"}, id="all theirs"
        ),
        pytest.param(
            None,
            LEGACY,
            "http://ls:1",
            OTHER,
            "http://ls:1",
            {"http://ls:1": f"Token {OTHER}"},
            id="our key stays here",
        ),
        pytest.param(None, LEGACY, "http://ls:1", "", "http://ls:1", {}, id="our key stays here, they have none"),
        pytest.param(None, LEGACY, None, None, None, {}, id="our key and no address"),
        pytest.param(None, None, "file:///etc", OTHER, None, {}, id="their address is none"),
        pytest.param(None, None, ["http://ls"], {"a": 1}, None, {}, id="of other types"),
        pytest.param(URL, "to\nken", None, None, URL, {}, id="would break the header"),
        pytest.param(URL, "tökén", None, None, URL, {}, id="not ASCII"),
        pytest.param(
            URL, jwt(token_type="access"), None, None, URL, {URL: f"Bearer {jwt(token_type='access')}"}, id="access"
        ),
        pytest.param(f"{URL}/ls/", LEGACY, None, None, f"{URL}/ls", {URL: f"Token {LEGACY}"}, id="sub-path"),
        pytest.param(
            "HTTP://LS/", LEGACY, None, None, "http://ls", {"http://ls:80": f"Token {LEGACY}"}, id="default port"
        ),
    ],
)
def test_who_gets_which_token(
    url: str | None,
    key: str | None,
    hostname: object,
    token: object,
    expected_url: str | None,
    expected: dict[str, str],
) -> None:
    server = LabelStudio.from_settings(settings(url, key), hostname=hostname, access_token=token)
    assert server.url == expected_url
    sent = {
        origin: server.headers_for(f"{origin}/data/upload/1/a.jpg").get("Authorization")
        for origin in (
            URL,
            "http://ls:1",
            "http://ls:80",
            "http://label-studio",
            "https://label-studio:8080",
            "http://evil",
        )
    }
    assert {origin: value for origin, value in sent.items() if value} == expected
    assert not any(secret in repr(server) for secret in (LEGACY, OTHER, PAT))


@pytest.mark.parametrize(
    "url",
    [
        "http://label-studio:8080@evil/",
        "http://evil/http://label-studio:8080/",
        "http://label-studio:8080.evil/",
        "http://evil#@label-studio:8080/",
        "http://evil?@label-studio:8080/",
        "http://label-studio:80800/",
        "//label-studio:8080/",
        "",
    ],
)
def test_addresses_that_only_look_like_its_own(url: str) -> None:
    server = LabelStudio.from_settings(settings(URL, LEGACY))
    assert not server.owns(url)
    assert server.headers_for(url) == {}


def test_key_without_address_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        LabelStudio.from_settings(settings(None, LEGACY), hostname="http://ls", access_token=OTHER)
    assert [(record.levelno, "LABEL_STUDIO_URL" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]
    assert LEGACY not in caplog.text


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("http://h", "/data/upload/1/x.jpg", "http://h/data/upload/1/x.jpg"),
        ("http://h/ls", "/data/upload/1/x.jpg", "http://h/ls/data/upload/1/x.jpg"),
        ("http://h/ls/", "/ls/data/upload/1/x.jpg", "http://h/ls/data/upload/1/x.jpg"),
        ("http://h/ls", "/lsd/x.jpg", "http://h/ls/lsd/x.jpg"),
        ("http://h/a/b", "/a/b/data/x.jpg", "http://h/a/b/data/x.jpg"),
        ("http://h", "/data/猫 1.jpg?a=b", "http://h/data/%E7%8C%AB%201.jpg?a=b"),
        ("http://h", "/@evil/x.jpg", "http://h/@evil/x.jpg"),
        ("http://h", "/", "http://h/"),
    ],
)
def test_address(base: str, path: str, expected: str) -> None:
    assert LabelStudio.from_settings(settings(base)).address(path) == expected


def test_address_without_a_server_names_the_setting() -> None:
    with pytest.raises(MediaError, match="set LABEL_STUDIO_URL"):
        LabelStudio.from_settings(settings()).address("/data/upload/1/x.jpg")


@pytest.mark.parametrize("uri", ["s3://bucket/a b?c=d&e.jpg", "gs://b/猫.jpg", "azure-blob://c/~~~???>>>.png"])
def test_resolve_address(uri: str) -> None:
    parts = urlsplit(LabelStudio.from_settings(settings("http://h/ls")).resolve_address(uri, task_id=7))
    assert parts.path == "/ls/tasks/7/resolve/"
    (encoded,) = parse_qs(parts.query)["fileuri"]
    assert base64.urlsafe_b64decode(encoded).decode() == uri


@pytest.mark.parametrize("task_id", [None, "", "1/../2", -1, 1.5, True, [], "¹"])
def test_resolve_needs_the_id_of_a_task(task_id: object) -> None:
    with pytest.raises(MediaError, match="a task with an id"):
        LabelStudio.from_settings(settings("http://h")).resolve_address("s3://b/k?secret", task_id=task_id)


def test_one_exchange_per_expiry_whatever_the_number_of_threads(web: Any, clock: SimpleNamespace) -> None:
    room = TokenRoom(web, path="/ls/api/token/refresh/")

    def header() -> str:  # as each request does it
        return LabelStudio.from_settings(settings(f"{web.url}/ls", PAT)).headers_for(f"{web.url}/x")["Authorization"]

    for ahead, exchanges in ((0, 1), (LIFETIME * 0.8, 1), (LIFETIME - 20, 2), (2 * LIFETIME, 3), (2 * LIFETIME, 3)):
        clock.ahead = ahead
        assert set(at_once(header)) == {f"Bearer {room.given[exchanges - 1]}"}
        assert len(room.given) == exchanges
    assert PAT not in header()


def test_a_clock_that_is_wrong_here_changes_nothing(web: Any, clock: SimpleNamespace) -> None:
    clock.time = lambda: time.time() + 3600
    room = TokenRoom(web)
    server = LabelStudio.from_settings(settings(web.url, PAT))
    assert server.headers_for(web.url) == server.headers_for(web.url)
    assert len(room.given) == 1


def test_tokens_of_two_users_are_kept_apart(web: Any) -> None:
    TokenRoom(web)
    good = LabelStudio.from_settings(settings(web.url), access_token=PAT)
    bad = LabelStudio.from_settings(settings(web.url), access_token=jwt(token_type="refresh", user_id="2"))
    assert good.headers_for(web.url)
    with pytest.raises(MediaError, match="refuses the personal access token"):
        bad.headers_for(web.url)
    assert good.headers_for(web.url)


def test_a_refused_access_token_is_renewed_once_for_all_threads(web: Any) -> None:
    room = TokenRoom(web)
    server = LabelStudio.from_settings(settings(web.url, PAT))
    refused = server.headers_for(web.url)
    renewed = at_once(lambda: server.renewed(refused))
    assert len(room.given) == 2
    assert renewed == [{"Authorization": f"Bearer {room.given[1]}"}] * THREADS


def test_nothing_to_renew() -> None:
    server = LabelStudio.from_settings(settings(URL, LEGACY))
    assert server.renewed(server.headers_for(f"{URL}/x")) is None
    assert server.renewed({}) is None
    assert LabelStudio.from_settings(settings(URL)).renewed({}) is None


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (401, b'{"detail": "Token is blacklisted"}', {}, "expired, revoked.*LABEL_STUDIO_API_KEY"),
        (404, b"", {}, "404 Not Found.*sub-path"),
        (500, b"", {}, "500 Internal Server Error"),
        (301, b"", {"Location": "https://elsewhere/"}, "redirects: set LABEL_STUDIO_URL"),
        (200, b"", {}, "no access token in the answer"),
        (200, b"<html>", {}, "no access token in the answer"),
        (200, b"[]", {}, "no access token in the answer"),
        (200, b'{"access": null}', {}, "no access token in the answer"),
        (200, b'{"access": "a\\nb"}', {}, "no access token in the answer"),
        (200, b" " * 2_000_000 + b'{"access": "a"}', {}, "no access token in the answer"),
        (200, b"{", {"Content_Length": "9", "Connection": "close"}, "ended early, after 1 bytes"),
    ],
)
def test_failed_exchange(
    web: Any, clock: SimpleNamespace, status: int, body: bytes, headers: dict[str, str], expected: str
) -> None:
    web.reply("/api/token/refresh/", body, status=status, **headers)

    def error() -> str:
        with pytest.raises(MediaError) as raised:
            LabelStudio.from_settings(settings(web.url, PAT)).headers_for(web.url)
        return str(raised.value)

    (text,) = set(at_once(error))
    assert re.search(expected, text)
    assert PAT not in text
    assert len(web.asked) == 1, "a failure is remembered, or a thousand tasks would wait for it one by one"
    clock.ahead = RETRY_AFTER + 1
    TokenRoom(web)
    assert LabelStudio.from_settings(settings(web.url, PAT)).headers_for(web.url)


def test_unreachable_server() -> None:
    server = LabelStudio.from_settings(settings("http://127.0.0.1:1", PAT))
    with pytest.raises(MediaError, match=r"http://127\.0\.0\.1:1/api/token/refresh/: connection refused"):
        server.headers_for("http://127.0.0.1:1/x.jpg")


def endless(handler: Any, asked: Any) -> None:
    """Answer until nobody listens."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b" " * 1_000_000)


@pytest.mark.parametrize("path", ["/api/projects/1", "/api/predictions/?task=1"])
def test_an_answer_without_an_end(web: Any, path: str) -> None:
    web.routes[path.partition("?")[0]] = endless
    server = LabelStudio.from_settings(settings(web.url, LEGACY, max_answer_mb=2))
    with pytest.raises(MediaError, match=r"/api/\S+: answers with more than MAX_ANSWER_MB allows \(2\)"):
        server.call("GET", path)
    with pytest.raises(AnswerTooLargeError, match="MAX_ANSWER_MB"):
        server.ask("GET", path)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" * 200_000, "[" * 170),
        (b"no JSON " * 100_000, "no JSON " * 20),
        (b'"' + b"a" * 999_998 + b'"', "a" * 999_998),
    ],
    ids=["nested", "text", "as long as allowed"],
)
def test_odd_answers(web: Any, body: bytes, expected: str) -> None:
    web.reply("/api/x", body)
    status, answer = LabelStudio.from_settings(settings(web.url, LEGACY, max_answer_mb=1)).call("GET", "/api/x")
    assert status == 200
    assert answer.startswith(expected)


def test_no_answer_is_told_from_an_error() -> None:
    server = LabelStudio.from_settings(settings("http://127.0.0.1:1", "legacy"))
    with pytest.raises(LabelStudioAwayError, match="connection refused") as raised:
        server.ask("GET", "/api/version")
    assert raised.value.unreachable
    assert raised.value.status is None
