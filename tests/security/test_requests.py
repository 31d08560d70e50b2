"""Attacks by requests, against the service under gunicorn as an operator starts it, but without a password."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.service import Service
from tests.support.networks import Networks
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR

CONFIG = (
    '<View><Image name="i" value="$i"/><RectangleLabels name="c" toName="i" model_path="demo-detect.pt">'
    '<Label value="barcode"/></RectangleLabels></View>'
)
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PHOTO = {"i": "/data/local-files/?d=photo-02.jpg"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, networks: Networks) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    networks.give(directory / "data", BUNDLED_MODELS / "demo-detect.pt")
    settings = {"LOCAL_FILES_DOCUMENT_ROOT": str(PROJECT_DIR / "examples" / "images"), "MAX_TASKS": "2"}
    with Service(directory, settings) as running:
        yield running


def until(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def post(service: Service, path: str, body: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        data = body if isinstance(body, bytes) else json.dumps(body)
        return session.post(service.url + path, data=data, timeout=60)


def get(service: Service, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(service.url + path, timeout=60)


def memory_of(service: Service) -> int:
    """The most that the worker has had at once, in bytes."""
    (worker,) = service.server.children()
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize(
    ("header", "part", "parts"),
    [
        (b"Content-Length: 200000000", b"[" * 1_000_000, 200),
        (b"Transfer-Encoding: chunked", b"f4240\r\n" + b"[" * 1_000_000 + b"\r\n", 200),
    ],
    ids=["said before", "in chunks"],
)
@pytest.mark.parametrize("path", [b"/predict", b"/setup", b"/webhook"])
def test_a_body_of_200_mb_is_not_taken(service: Service, path: bytes, header: bytes, part: bytes, parts: int) -> None:
    until(lambda: get(service, "/ready").ok)  # what is imported is no memory of this request
    before = memory_of(service)
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(parts):
                connection.sendall(part)
        answer = b""
        with contextlib.suppress(OSError):
            while b"MAX_REQUEST_MB" not in answer and (received := connection.recv(65536)):
                answer += received
    # Who is still sending when the connection is closed may not see it.
    assert not answer or (answer.startswith(b"HTTP/1.1 413 ") and b"MAX_REQUEST_MB allows (64)" in answer)
    assert "MAX_REQUEST_MB allows (64)" in service.log
    assert memory_of(service) - before < 150_000_000
    assert post(service, "/predict", {"tasks": []}).json() == {"results": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 1_000_000,
        b'{"tasks":' * 200_000,
        b'{"tasks": ' + b"9" * 100_000 + b"}",
        b'{"tasks": [' + b"1," * 100_000 + b"1]}",
        b'{"tasks": "\\ud800"}',
        b"\xff\xfe{}",
        b'{"tasks": [{}], "label_config": "\\ud800"}',
        b'{"tasks": [{}], "project": {"id": [1]}}',
        b'{"tasks": [{}], "params": [1]}',
        b"<?xml version='1.0'?><!DOCTYPE v><v/>",
        b"a=b&c=d",
    ],
    ids=range(13),
)
@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
def test_a_body_that_is_none_is_a_clear_400(service: Service, path: str, body: bytes) -> None:
    answer = post(service, path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"\r\n{}\r\n0\r\n\r\n",
        b"2;=\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno header\r\n\r\n",
        b"ff\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\n{}",
        b"2\r\n{}\r\n",
        b"2",
        None,
    ],
    ids=[
        *("no size", "negative size", "empty size", "no extension", "no end of the chunk", "no trailer"),
        *("more announced than sent", "huge", "no last chunk", "half a size", "shorter than its length"),
    ],
)
@pytest.mark.parametrize("path", [b"/predict", b"/setup", b"/webhook"])
def test_a_body_that_breaks_off_is_a_clear_400(service: Service, path: bytes, body: bytes | None) -> None:
    header = b"Content-Length: 100" if body is None else b"Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n" + (body or b"{}"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"The request\'s body ' in answer
    assert answer.count(b"HTTP/1.") == 1


def test_tasks_beyond_the_limit_stay_without_a_prediction(service: Service) -> None:
    tasks = [{"id": number, "data": PHOTO} for number in range(1, 5)]
    results = post(service, "/predict", {"tasks": tasks, "label_config": CONFIG}).json()["results"]
    assert [bool(result) for result in results] == [True, True, False, False]
    assert results[2:] == [[], []]
    assert "4 tasks in one request, MAX_TASKS allows 2" in service.log


@pytest.mark.parametrize(
    ("label_config", "words"),
    [
        ("<!DOCTYPE v [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><View>&x;</View>", "has a DOCTYPE"),
        (CONFIG.replace("demo-detect.pt", "../../../etc/passwd"), "is not allowed"),
        (CONFIG.replace("demo-detect.pt", "/etc/passwd"), "is not allowed"),
        (CONFIG.replace("demo-detect.pt", "http://127.0.0.1/x.pt"), "is not allowed"),
        (CONFIG.replace("<Label ", '<Label value="x"/>' * 10_000 + "<Label "), "MAX_LABELS"),
    ],
    ids=["entity", "up", "absolute", "URL", "10,000 labels"],
)
def test_a_labeling_config_that_is_refused(service: Service, label_config: str, words: str) -> None:
    answer = post(service, "/setup", {"project": "7.1", "schema": label_config})
    assert (answer.status_code, list(answer.json())) == (200, ["model_version"])
    answer = post(service, "/predict", {"tasks": [{"id": 1, "data": PHOTO}], "label_config": label_config})
    assert answer.json()["results"] == [[]]
    assert words in service.log
    assert "root:" not in service.log


def test_another_address_does_not_get_a_projects_token(service: Service, web: Any) -> None:
    setup = {"project": "9.1", "schema": CONFIG, "hostname": "http://label-studio.invalid", "access_token": TOKEN}
    assert post(service, "/setup", setup).ok
    assert post(service, "/setup", {"project": "9.1", "schema": CONFIG, "hostname": web.url}).ok
    tasks = [{"id": 1, "data": {"i": "/data/upload/1/x.jpg"}}]
    assert post(service, "/predict", {"project": "9.1", "tasks": tasks, "label_config": CONFIG}).json() == {
        "results": [[]]
    }
    assert web.asked == []
    assert f"another address or token of Label Studio for project '9.1' ('{web.url}')" in service.log
    assert TOKEN not in service.log


@pytest.mark.parametrize("project", ["../../escaped", "/tmp/escaped", "x\0y", "a" * 200, "'; DROP TABLE entry; --"])
def test_a_project_is_no_path_and_no_statement(service: Service, project: str) -> None:
    data = service.server.log.parent / "data"
    before = sorted(path.name for path in data.parent.iterdir())
    assert post(service, "/setup", {"project": project, "schema": CONFIG}).ok
    assert post(service, "/setup", {"project": "1.1", "schema": CONFIG}).ok
    assert sorted(path.name for path in data.parent.iterdir()) == before
    assert not [path for path in data.rglob("*") if "escaped" in path.name]


@pytest.mark.parametrize(
    "line",
    [
        "\n2026-01-01 00:00:00 CRITICAL all is lost",
        "\r\x1b[2J\x1b[31mred",
        "\u2028next",
        "%s%s%s%n",
        "${jndi:ldap://x}",
    ],
)
def test_no_line_of_the_log_is_written_by_others(service: Service, line: str) -> None:
    before = len(service.log)
    tasks = [{"id": f"1{line}", "data": {"i": f"http://images.invalid/{line}"}}]
    post(service, "/predict", {"project": f"1{line}", "tasks": tasks, "label_config": CONFIG})
    post(
        service,
        "/setup",
        {"project": f"1{line}", "schema": CONFIG, "hostname": f"http://x/{line}", "access_token": line},
    )
    said = service.log[before:]
    assert not re.search(r"^(2026-01-01 00:00:00 CRITICAL|next|red)", said, re.MULTILINE)
    assert "\x1b" not in said
    assert "\u2028" not in said


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /status",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nabcde",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic secret\r\n\r\n",
    ],
    ids=range(11),
)
def test_what_is_no_request_is_refused(service: Service, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(OSError):
            while received := connection.recv(65536):
                answer += received
    assert re.match(rb"HTTP/1\.[01] [45]\d\d ", answer) or not answer
    assert b"root:" not in answer
    assert b"secret" not in answer
    assert answer.count(b"HTTP/1.") <= 1
    assert get(service, "/health").ok


def test_nothing_that_was_sent_to_it_was_a_fault_of_its_own(service: Service) -> None:
    """Comes last: no traceback for all of the above."""
    assert "Traceback" not in service.log
