"""Clients that hold on to their connections: the service answers others all the same."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.service import Service
from tests.support.networks import Networks
from yolo_backend.serving.gunicorn_worker import ClientSocket
from yolo_backend.settings import BUNDLED_MODELS

THREADS = 33  # of the worker: 32 and one for each predict request


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, networks: Networks) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    networks.give(directory / "data", BUNDLED_MODELS / "demo-detect.pt")
    with Service(directory, {"MAX_CONCURRENT_PREDICTS": "1", "CLIENT_TIMEOUT": "1"}) as running:
        yield running


def health(service: Service) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{service.url}/health", timeout=30).status_code


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
    ],
    ids=["method", "header", "body", "chunk", "body that nobody reads"],
)
@pytest.mark.parametrize("drop", [b"", b"x"], ids=["silent", "byte by byte"])
def test_others_are_answered(service: Service, start: bytes, drop: bytes) -> None:
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(THREADS + 5)]
        for client in clients:
            client.sendall(start)

        def dribble() -> None:
            while drop and not done.wait(0.1):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.sendall(drop)

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        try:
            assert health(service) == 200
        finally:
            done.set()
            dribbling.join()


@pytest.mark.parametrize(
    "start",
    [
        b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"Content-Length: 100\r\n\r\n{}",
    ],
    ids=["announced chunk", "last chunk", "announced length"],
)
def test_an_announced_rest_is_waited_for_no_longer_than_client_timeout(service: Service, start: bytes) -> None:
    address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"POST /setup HTTP/1.1\r\nHost: x\r\n" + start)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"its rest did not come in time" in answer


def test_nothing_of_that_is_a_fault_of_the_service(service: Service) -> None:
    """Comes after the others."""
    assert "Traceback" not in service.log


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    taken = ClientSocket.taking_over(ours, 0.2)
    with taken, theirs:
        yield taken, theirs


def test_a_client_that_takes_no_answer(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, _ = pair
    with pytest.raises(ConnectionResetError, match="CLIENT_TIMEOUT"):
        ours.sendall(b"x" * 50_000_000)
    assert ours.gettimeout() is None


def test_a_request_that_does_not_come(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, theirs = pair
    ours.expect_request()
    theirs.sendall(b"abc")
    assert ours.recv(1, socket.MSG_PEEK) == b"a"
    assert ours.recv(1) == b"a"
    time.sleep(0.25)
    assert ours.recv(10) == b"bc"
    with pytest.raises(ConnectionResetError, match="CLIENT_TIMEOUT"):
        ours.recv(10)
    ours.expect_request()
    theirs.sendall(b"d")
    assert ours.recv(10) == b"d"
