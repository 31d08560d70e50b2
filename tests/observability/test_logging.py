"""What a line of the log looks like, and what is never in one."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from concurrent.futures import wait
from typing import Any

import pytest
from flask import Flask

from yolo_backend.observability.logging import JSONFormatter, TextFormatter, formatter
from yolo_backend.observability.redaction import MAX_MESSAGE, Redactor
from yolo_backend.observability.request_id import HEADER, NONE, ThreadPool, identify_requests, request_id
from yolo_backend.settings import Settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
LEGACY = "0123456789abcdef0123456789abcdef01234567"
PIXELS = base64.b64encode(bytes(range(256))).decode()


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("yolo_backend.pipeline.engine", logging.WARNING, __file__, 1, message, arguments, exc_info)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("http://user:pass-word@host/a.jpg: 404", "pass-word"),
        ("http://user:p%40ss-word@host/a.jpg", "ss-word"),
        ("s3://key:pass-word@bucket/a.jpg", "pass-word"),
        ("//user@host http://pass-word@host", "pass-word"),
        ("http://host/a.jpg?X-Amz-Signature=0a1b", "0a1b"),
        ("/data/local-files?secret", "secret"),
        ("GET /a?b=secret HTTP/1.1", "secret"),
        ("Invalid HTTP request line: 'GET /a?secret'", "secret"),
        ("HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /a?token=secret (Caused by", "secret"),
        ("http://host/cb#access_token=secret", "secret"),
        ("{'Authorization': 'Token secret'}", "secret"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("authorization=Bearer secret", "secret"),
        ("Invalid HTTP Header: 'AUTHORIZATION: Digest username=\"secret\"'", "secret"),
        ("X-Api-Key: secret", "secret"),
        ("Cookie: sessionid=secret", "secret"),
        (f"refused: Token {LEGACY}", LEGACY),
        ("refused: Bearer abc123.def456", "abc123"),
        (f"the token {LEGACY} is unknown", LEGACY),
        (f"the token {JWT} has expired", JWT),
        (f"the token '{JWT}'", "eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9"),
        ('{"access_token": "secret", "project": "4"}', "secret"),
        ("{'login': 'someone', 'password': 'secret'}", "secret"),
        ("password=secret&user=a", "secret"),
        (f"data:image/png;base64,{PIXELS}", PIXELS[:40]),
        (f"data:image/svg+xml;charset=utf-8,<svg>{PIXELS}", PIXELS[:40]),
        (f"unreadable: {PIXELS}", PIXELS[:40]),
        (f"cannot identify {bytes(range(128, 256))!r}", "\\x90\\x91"),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in Redactor()(text)


@pytest.mark.parametrize(
    "text",
    [
        "Task 7 left out: http://localhost:8080/data/upload/1/a.jpg: 401 Unauthorized: LABEL_STUDIO_API_KEY was refused",
        "(d=no-such-file.jpg): 403",
        "paths on a disk are never opened (for local files: /data/local-files/?d=…)",
        "no access token in the answer; is LABEL_STUDIO_URL right, with its sub-path?",
        "set LABEL_STUDIO_API_KEY to a personal access token (Account & Settings > Personal Access Token)",
        "basic auth needs BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither",
        "yolo26n.pt, demo-detect-d53cda3b, /opt/yolo-backend/models",
        "the project's creator@example.com",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert Redactor()(text) == text


def test_the_operators_secrets_are_known_word_by_word() -> None:
    settings = Settings(label_studio_api_key="correct horse", basic_auth_user="me", basic_auth_pass="battery staple")
    hide = Redactor(settings.secrets)
    pair = base64.b64encode(b"me:battery staple").decode()
    assert hide(f"a correct horse, a battery staple, {pair}") == "a ***, a ***, ***"


def test_a_long_message_is_cut() -> None:
    text = Redactor()("x" * 190 + " " + "word " * 1_000_000)
    assert len(text) < MAX_MESSAGE + 50
    assert text.endswith("(of 5000191 characters)")


@pytest.mark.parametrize("evil", ["\n", "\r\n", "\x1b[2J", "\u2028", "\u202e", "\ud800", "\x00", "\x85"])
@pytest.mark.parametrize("format_", ["text", "json"])
def test_task_data_writes_no_lines_of_its_own(evil: str, format_: Any) -> None:
    written = formatter(Settings(log_format=format_)).format(record("Task %s left out", f"1{evil}2026 ERROR forged"))
    assert written.isprintable()
    written.encode()


def test_text_has_the_request_on_every_line() -> None:
    request_id.set("request-7")
    try:
        raise ValueError(f"http://user:pass-word@host/?q={JWT}\nforged")
    except ValueError as error:
        first, *others = TextFormatter(Redactor()).format(record("Not %s", "good", error=error)).splitlines()
    finally:
        request_id.set(NONE)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z WARNING \[request-7\] yolo_backend\.pipeline\.engine: Not good", first
    )
    assert others
    assert all(line.startswith("[request-7] | ") for line in others)
    assert "ValueError: http://host/?***" in others[-2]
    assert JWT not in str(others)


def test_json_is_an_object_on_a_line() -> None:
    try:
        raise ValueError("http://user:pass-word@host")
    except ValueError as error:
        written = JSONFormatter(Redactor()).format(record("Größe %s", "ü", error=error))
    entry = json.loads(written)
    assert "\n" not in written
    assert entry["message"] == "Größe ü"
    assert (entry["level"], entry["logger"], entry["request_id"]) == ("WARNING", "yolo_backend.pipeline.engine", NONE)
    assert entry["traceback"].endswith("ValueError: http://host")
    assert set(JSONFormatter(Redactor()).format(record("x"))) >= set('"time"')


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    identify_requests(app)
    app.add_url_rule("/", view_func=lambda: request_id.get())
    return app


@pytest.mark.parametrize("brought", ["abc", "7f3a-._B", "x" * 64, "0"])
def test_a_request_keeps_the_id_that_it_brings(app: Flask, brought: str) -> None:
    answer = app.test_client().get("/", headers={HEADER: brought})
    assert answer.text == answer.headers[HEADER] == brought


@pytest.mark.parametrize(
    "brought",
    [None, "", " ", "x" * 65, "a b", "a;b", "<script>", "é", "a\tb", "%0d%0aSet-Cookie:a=b", "${jndi:ldap://a}", "٣"],
)
def test_another_one_is_given_in_place_of_an_odd_one(app: Flask, brought: str | None) -> None:
    environ = {} if brought is None else {"HTTP_X_REQUEST_ID": brought}
    answers = [app.test_client().get("/", environ_overrides=environ) for _ in range(2)]
    ids = {answer.headers[HEADER] for answer in answers}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)
    assert app.test_client().get("/nowhere").headers[HEADER]


def test_threads_work_for_the_request_that_gave_them_the_work() -> None:
    with ThreadPool(1) as pool:
        seen = []
        for name in ("a", "b"):
            request_id.set(name)
            seen.append(pool.submit(request_id.get))
        request_id.set(NONE)
        wait(seen)
    assert [each.result() for each in seen] == ["a", "b"]


def test_the_library_writes_as_the_service_does() -> None:
    from yolo_backend.inference.library import ultralytics

    library = ultralytics()
    assert library.utils.LOGGER.handlers == []
    assert library.utils.LOGGER.propagate


def test_a_thread_that_fails_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from yolo_backend.observability.logging import _log_thread_exception

    def fail() -> None:
        raise ValueError("why")

    monkeypatch.setattr(threading, "excepthook", _log_thread_exception)
    thread = threading.Thread(target=fail, name="poster")
    thread.start()
    thread.join()
    assert "The thread poster has ended" in caplog.text
    assert "ValueError: why" in caplog.text
