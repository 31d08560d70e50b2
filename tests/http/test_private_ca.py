"""Servers whose certificate is from a private CA."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
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


@contextmanager
def serving(certificate: trustme.LeafCert) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def fetch(label_studio_url: str) -> bytes:
    settings = Settings(label_studio_url=label_studio_url)
    label_studio = LabelStudio.from_settings(settings)
    return MediaLoader(settings).fetch("/data/upload/1/a.jpg", task_id=1, label_studio=label_studio).data


def test_a_private_ca_is_trusted_when_it_is_named(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    with serving(ca.issue_cert("localhost")) as url:
        with pytest.raises(MediaError, match=r"isn't trusted .*; for a CA of your own set REQUESTS_CA_BUNDLE"):
            fetch(url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        with pytest.raises(MediaError, match="REQUESTS_CA_BUNDLE can't be used: there is no such file"):
            fetch(url)
        bundle.touch()
        with pytest.raises(MediaError, match="REQUESTS_CA_BUNDLE can't be used: no certificate"):
            fetch(url)
        ca.cert_pem.write_to_path(str(bundle))
        assert fetch(url) == b"image"


def test_other_faults_of_a_certificate_are_named(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with serving(ca.issue_cert("elsewhere")) as url, pytest.raises(MediaError) as error:
        fetch(url)
    assert "certificate is not valid for 'localhost'" in str(error.value)
    assert "REQUESTS_CA_BUNDLE" not in str(error.value)
