"""A real web server on this machine, for the tests of everything that asks other servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.networks import Networks
from yolo_backend.inference.backends import loading
from yolo_backend.inference.backends.ultralytics import UltralyticsBackend
from yolo_backend.settings import BUNDLED_MODELS


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    target: str  # path with query
    headers: dict[str, str]  # names in lower case
    body: bytes


Route = Callable[[BaseHTTPRequestHandler, Asked], None]


class WebServer(ThreadingHTTPServer):
    """Answers 404 until ``reply`` or ``routes`` say otherwise, and remembers what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.routes: dict[str, Route] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def other_origin(self) -> str:
        """The same server under another name."""
        return f"http://localhost:{self.server_port}"

    def reply(self, path: str, body: bytes = b"", *, status: int = 200, **headers: str) -> None:
        """Answer requests for ``path``, whatever the query; headers are written with underscores."""
        self.routes[path] = lambda handler, asked: answer(handler, body, status=status, **headers)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is what some tests are about


def answer(handler: BaseHTTPRequestHandler, body: bytes = b"", *, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.asked.append(asked)
        self.server.routes.get(urlsplit(self.path).path, lambda handler, _: answer(handler, status=404))(self, asked)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def make_web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], WebServer]]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    servers: list[WebServer] = []

    def start() -> WebServer:
        server = WebServer()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web(make_web: Callable[[], WebServer]) -> WebServer:
    return make_web()


@pytest.fixture(scope="session", autouse=True)
def _bundled_weights_are_loaded_once() -> Iterator[None]:
    """They hold nothing of a request, so that the models of all engines can share them."""
    load_once = lru_cache(maxsize=None)(UltralyticsBackend)

    def load(path: Path, device: str, *, batch_size: int) -> UltralyticsBackend:
        bundled = path.parent == BUNDLED_MODELS and path.suffix == ".pt"
        return (load_once if bundled else UltralyticsBackend)(path, device, batch_size=batch_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "UltralyticsBackend", load)
        yield


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return Networks(tmp_path_factory.mktemp("networks"))
