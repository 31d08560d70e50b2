"""Servers whose certificate is from a private CA."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from yolo_backend.errors import MediaError
from yolo_backend.label_studio import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.settings import Settings


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"image")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def label_studio_url(ca: trustme.CA) -> Iterator[str]:
    """A server with a certificate of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_private_ca_is_trusted_when_it_is_named(
    ca: trustme.CA, label_studio_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    settings = Settings(label_studio_url=label_studio_url)
    label_studio = LabelStudio.from_settings(settings)

    def fetch() -> bytes:
        return MediaLoader(settings).fetch("/data/upload/1/a.jpg", task_id=1, label_studio=label_studio).data

    with pytest.raises(MediaError, match="no secure connection"):
        fetch()
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert fetch() == b"image"
