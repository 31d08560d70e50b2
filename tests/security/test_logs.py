"""Attacks on the log: secrets of all kinds are sent in every place, and the log at its most talkative has none of them."""

from __future__ import annotations

import base64
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import WebServer
from tests.e2e.service import Service
from tests.support.networks import Networks
from yolo_backend.settings import BUNDLED_MODELS

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples" / "images" / "photo-01.jpg"
CONFIG = (ROOT / "examples" / "RectangleLabels.xml").read_text()

# Each is found nowhere else, so that a part of it in the log is a leak.
USER, PASSWORD, GUESS = "annotator", "pass-canary-1", "guess-canary-2"
KEY, HANDED_OVER = "c0ffee" * 6 + "1234", "ab1e" * 10
QUERY, HEADER, IN_URL = "query-canary-3", "header-canary-4", "url-canary-5"
LOGIN, WEBHOOK, LOCATION, TOKEN = "login-canary-6", "webhook-canary-7", "location-canary-8", "token-canary-9"
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg": "HS256"}', b'{"token_type": "refresh"}', b"jwt-canary-10")
)
PIXELS = base64.b64encode(PHOTO.read_bytes()).decode()
BROKEN = base64.b64encode(b"image-canary-11" * 40).decode()


def basic(password: str) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


SECRETS = [
    *(PASSWORD, GUESS, KEY, HANDED_OVER, QUERY, HEADER, IN_URL, LOGIN, WEBHOOK, LOCATION, TOKEN),
    *(JWT.split(".")[1], JWT.split(".")[2], PIXELS[2000:2040], BROKEN[40:80], basic(PASSWORD), basic(GUESS)),
]


def send_secrets(service: Service, web: WebServer) -> None:
    """Ask for everything, rightly and wrongly, with a secret wherever one fits."""
    http = requests.Session()
    http.trust_env = False
    right = {"Authorization": f"Basic {basic(PASSWORD)}"}
    for headers in (right, {"Authorization": f"Basic {basic(GUESS)}"}, {"Authorization": f"Bearer {HEADER}"}, {}):
        more = {"X-Api-Key": HEADER, "Cookie": f"a={HEADER}", "Referer": f"http://h/?{QUERY}", "User-Agent": HEADER}
        for path in ("/status", "/nowhere", "/predict", "/metrics"):
            http.get(f"{service.url}{path}?token={QUERY}", headers=headers | more)

    def post(path: str, body: Any) -> requests.Response:
        return http.post(f"{service.url}{path}?password={QUERY}", json=body, headers=right)

    hosts = (web.url, web.url.replace("://", f"://{USER}:{IN_URL}@"), f"not-an-address?{QUERY}")
    for token in (HANDED_OVER, JWT):
        for host in hosts:
            set_up = {
                "project": "4.1",
                "schema": CONFIG,
                "hostname": host,
                "access_token": token,
                "extra_params": LOGIN,
            }
            assert post("/setup", set_up).status_code == 200
    web.reply("/redirect.jpg", status=302, Location=f"http://u:{LOCATION}@127.0.0.1:9/x?{LOCATION}")
    web.reply("/broken.jpg", b"image-canary-11" * 40)
    web.reply("/failing.jpg", b"token-canary-9", status=500)
    web.reply("/api/token/refresh/", b"token-canary-9", status=500)
    other = web.url.replace("://", f"://{USER}:{IN_URL}@")
    images = [
        f"data:image/jpeg;base64,{PIXELS}",
        f"data:image/jpeg;base64,{BROKEN}",
        f"data:image/jpeg;base64,***{BROKEN}",
        f"/data/missing.jpg?token={QUERY}",
        f"/failing.jpg?{QUERY}",
        f"{other}/broken.jpg?{QUERY}#{QUERY}",
        f"{other}/redirect.jpg?X-Amz-Signature={QUERY}",
        f"http://{IN_URL}@127.0.0.1:9/a.jpg?{QUERY}",
        f"http://{USER}:{IN_URL}@no-such-host.invalid/a.jpg?{QUERY}",
        f"http://u:{IN_URL}@[broken/?{QUERY}",
        f"ftp://u:{IN_URL}@h/a.jpg?{QUERY}",
        f"s3://u:{IN_URL}@bucket/a.jpg?{QUERY}",
        f"//u:{IN_URL}@h/a.jpg?{QUERY}",
        f"/data/local-files/?d=a.jpg&token={QUERY}",
    ]
    tasks = [{"id": number, "data": {"image": image}} for number, image in enumerate(images)]
    params = {"login": LOGIN, "password": LOGIN, "context": None, "token": LOGIN}
    for config in (CONFIG, f"<View {QUERY}", f'<View><Image name="i" value="{IN_URL}"', "<View/>"):
        asked = {"tasks": tasks, "project": "4.1", "label_config": config, "params": params}
        assert post("/predict", asked).status_code == 200
    for wrong in ([LOGIN], {"tasks": LOGIN}, {"tasks": [{}], "label_config": 5, "params": params}, f"{{{LOGIN}"):
        assert post("/predict", wrong).status_code == 400
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 4, "token": WEBHOOK}, "annotation": {"x": WEBHOOK}}
    post("/webhook", event)
    post("/webhook", event | {"action": f"token={WEBHOOK}"})
    http.post(f"{service.url}/webhook?{QUERY}", json=event | {"action": "PROJECT_UPDATED"})
    # What is no HTTP, for gunicorn's own records.
    for request in (
        f"GET /x?{QUERY} HTTP/9.9\r\n\r\n",
        f"GET  /?{QUERY}\r\n\r\n",
        f"GET /?{QUERY} HTTP/1.1\r\nAuthorization : Basic {HEADER}\r\n\r\n",
        f"GET /?{QUERY} HTTP/1.1\r\nAuthorization: Basic {HEADER}\x00\r\n\r\n",
        f"POST /?{QUERY} HTTP/1.1\r\nHost: x\r\nContent-Length: {QUERY}\r\n\r\n",
        f"POST /predict?{QUERY} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ{LOGIN}\r\n",
        f"GET /?{QUERY} HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\r\n 2026 ERROR forged: {HEADER}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", urlsplit(service.url).port or 0), timeout=10) as connection:
            connection.sendall(request.encode())
            connection.recv(1000)


@pytest.mark.parametrize(("log_format", "runtime"), [("text", "pytorch"), ("json", "auto")])
def test_no_secret_is_logged(web: WebServer, tmp_path: Path, networks: Networks, log_format: str, runtime: str) -> None:
    networks.give(tmp_path / "data", BUNDLED_MODELS / "demo-detect.pt")
    settings = {
        "RUNTIME": runtime,
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": log_format,
        "BASIC_AUTH_USER": USER,
        "BASIC_AUTH_PASS": PASSWORD,
        "LABEL_STUDIO_URL": web.url.replace("://", f"://{USER}:{IN_URL}@"),
        "LABEL_STUDIO_API_KEY": KEY if log_format == "text" else JWT,
        "DOWNLOAD_TIMEOUT": "3",
    }
    with Service(tmp_path, settings) as service:
        send_secrets(service, web)
        status = json.dumps(service.status())
        lines = service.log.splitlines()
    for secret in SECRETS:
        assert secret not in status, secret
        found = [line for line in lines if secret in line]
        assert not found, (secret, found)
    assert len(lines) > 60
    if log_format == "json":
        entries = [json.loads(line) for line in lines]
    else:
        form = re.compile(r"\S+Z (?P<level>[A-Z]+) \[(?P<request_id>[\w.-]+)\] (?P<logger>[\w.]+): (?P<message>.*)")
        matches = [form.fullmatch(line) for line in lines if not re.match(r"\[[\w.-]+\] \| ", line)]
        assert all(matches), lines
        entries = [match.groupdict() for match in matches if match]
    about_tasks = [entry for entry in entries if "left out" in entry["message"]]
    assert len(about_tasks) > 10
    assert all(re.fullmatch("[0-9a-f]{16}", entry["request_id"]) for entry in about_tasks)
    assert {"gunicorn.error", "gunicorn.access"} <= {entry["logger"] for entry in entries}
    assert [entry for entry in entries if entry["level"] == "ERROR" and entry["logger"] == "forged"] == []
