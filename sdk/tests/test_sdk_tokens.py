"""Legacy tokens as they are, personal access tokens exchanged: once per expiry, whoever asks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
import requests
from label_studio_ml.tokens import usable_token

KEY = "a key of thirty-two bytes or more"


def token(kind: str, seconds: float, name: str = "") -> str:
    return jwt.encode({"token_type": kind, "exp": int(time.time() + seconds), "name": name}, KEY, algorithm="HS256")


class LabelStudio(ThreadingHTTPServer):
    """Exchanges tokens as Label Studio does, and counts how often."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.seconds = 300.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LabelStudio

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        good = (
            self.path.endswith("/api/token/refresh/")
            and "revoked" not in jwt.decode(body["refresh"], KEY, algorithms=["HS256"])["name"]
        )
        answer = {"access": token("access", self.server.seconds, f"{len(self.server.asked)}")} if good else {}
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[LabelStudio]:
    with LabelStudio() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("given", ["", "0123456789abcdef", "not.a.jwt", token("access", 300), "ü"])
def test_other_tokens_stay_as_they_are(given: str) -> None:
    assert usable_token("http://nobody.invalid", given) == given


@pytest.mark.parametrize("path", ["", "/", "/label-studio", "/label-studio/"])
def test_a_personal_access_token_is_exchanged_below_label_studios_url(server: LabelStudio, path: str) -> None:
    personal = token("refresh", 3600)
    access = usable_token(server.url + path, personal)
    assert jwt.decode(access, KEY, algorithms=["HS256"])["token_type"] == "access"
    assert server.asked == [(f"{path.rstrip('/')}/api/token/refresh/", {"refresh": personal})]


def test_threads_share_one_exchange(server: LabelStudio) -> None:
    personal = token("refresh", 3600)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: usable_token(server.url, personal), range(32)))
    assert len(found) == len(server.asked) == 1


def test_it_is_exchanged_again_when_it_expires(server: LabelStudio) -> None:
    server.seconds = 5  # less than the margin
    personal = token("refresh", 3600)
    assert usable_token(server.url, personal) != usable_token(server.url, personal)
    assert len(server.asked) == 2


def test_servers_and_tokens_are_kept_apart(server: LabelStudio) -> None:
    one, two = token("refresh", 3600, "one"), token("refresh", 3600, "two")
    assert (
        len({usable_token(server.url, one), usable_token(server.url, two), usable_token(f"{server.url}/b", one)}) == 3
    )


def test_a_refused_token_is_an_error_that_does_not_hold_it(server: LabelStudio) -> None:
    personal = token("refresh", 3600, "revoked")
    with pytest.raises(requests.HTTPError, match="401") as caught:
        usable_token(server.url, personal)
    assert personal not in str(caught.value)
