"""Bodies that break off or are broken, sent to a real server: a clear 400, no traceback, and no thread that waits for ever."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
from label_studio_ml import bodies
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from werkzeug.serving import BaseWSGIServer, make_server

CHUNKED = b"Transfer-Encoding: chunked"
SIZED = b"Content-Length: 100"


@pytest.fixture(scope="module")
def server() -> Iterator[BaseWSGIServer]:
    server = make_server("127.0.0.1", 0, init_app(LabelStudioMLBase, "", ""), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def post(server: BaseWSGIServer, header: bytes, body: bytes, *, hang_up: bool) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n" + body)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, answer = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(answer)["error"]


BROKEN = [
    pytest.param(CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n", id="no size"),
    pytest.param(CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n", id="negative size"),
    pytest.param(CHUNKED, b"2\r\n{}xx0\r\n\r\n", id="no end of the chunk"),
    pytest.param(CHUNKED, b"2\r\n{}\r\n", id="no last chunk"),
    pytest.param(CHUNKED, b"ff\r\n{}\r\n0\r\n\r\n", id="more announced than sent"),
    pytest.param(SIZED, b'{"action": "START_TRAINING"}', id="shorter than its length"),
]


@pytest.mark.parametrize(("header", "body"), BROKEN)
def test_a_broken_body_is_a_400(
    server: BaseWSGIServer, header: bytes, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, error = post(server, header, body, hang_up=True)
    assert status == 400
    assert error.startswith("The request's body ")
    assert [record.levelno for record in caplog.records if record.name.startswith("label_studio_ml")] == [
        logging.WARNING
    ]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("header", "body"),
    [(CHUNKED, b"ff\r\n{}\r\n0\r\n\r\n"), (CHUNKED, b"2\r\n{}\r\n"), (SIZED, b"{}")],
    ids=["announced chunk", "last chunk", "announced length"],
)
def test_a_silent_client_is_not_waited_for(
    server: BaseWSGIServer, header: bytes, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", 0.2)
    assert post(server, header, body, hang_up=False) == (
        400,
        "The request's body ended early, or its rest did not come in time",
    )
