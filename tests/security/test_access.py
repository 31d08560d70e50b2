"""Attacks on the way in: guessed passwords, odd paths and headers, forged events, pages that use somebody's browser."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from label_studio_ml.answers import SECURITY_HEADERS
from label_studio_ml.api import init_app
from werkzeug.test import TestResponse

from model import YOLO
from tests.conftest import WebServer
from tests.security.conftest import RIGHT, Start
from yolo_backend.serving import dispatcher
from yolo_backend.serving.routes import add_routes

PROJECT = {"id": 4, "created_at": "2026-11-22T07:43:08.000000Z"}
KEY = "4.1795333388"
CONFIG = "<View><Image name='image' value='$image'/></View>"
PROBES = {"/health", "/ready"}


@pytest.fixture
def client(start: Start) -> FlaskClient:
    return start().test_client()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Without a password


def test_every_route_but_the_probes_asks_for_a_password(start: Start) -> None:
    app = start()
    open_to_all = set()
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            # Events are looked at, and told from START_TRAINING by what is in them.
            body = json.dumps({"action": "START_TRAINING", "project": PROJECT})
            if app.test_client().open(rule.rule, method=method, data=body).status_code != 401:
                open_to_all.add(rule.rule)
    assert open_to_all == PROBES


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/status", "/setup", "/predict", "/metrics", "/nowhere"])
def test_no_method_gets_past_the_password(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method, headers={"X-HTTP-Method-Override": "GET"}).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/status/",
        "//status",
        "/STATUS",
        "/%73tatus",
        "/health/../status",
        "/health/..%2fstatus",
        "/health%00/status",
        "/health;/status",
        "/health/status",
        "/status%20",
        "/./status",
        "/status?path=/health",
        "/status#/health",
        "/ready/../predict",
    ],
)
def test_no_path_gets_past_the_password(client: FlaskClient, path: str) -> None:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code in (401, 404)
    assert "uptime" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-URL": "/health"},
        {"X-Rewrite-URL": "/health"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"X-Forwarded-User": "annotator"},
        {"Remote-User": "annotator"},
        {"Cookie": "session=annotator; user=annotator"},
        {"Proxy-Authorization": "Basic YW5ub3RhdG9yOnJpZ2h0IHBhc3N3b3Jk"},
        {"X-Api-Key": "right password"},
        {"Host": "localhost"},
        {"Host": "annotator:right password@localhost"},
    ],
    ids=str,
)
def test_no_other_header_stands_for_the_password(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/status", headers=headers).status_code == 401


@pytest.mark.parametrize("query", ["user=annotator&password=right password", "auth=annotator:right password"])
def test_a_password_in_the_query_is_none(client: FlaskClient, query: str) -> None:
    assert client.get(f"/status?{query}").status_code == 401


def test_numbers_alone_for_who_needs_no_password(start: Start, web: WebServer) -> None:
    """Without a password set, everybody may ask; names of projects, weights and files are the operator's alone."""
    app = start(default_detect_model="demo-detect.pt", label_studio_url=web.url)
    open_app = init_app(YOLO)
    add_routes(open_app, dispatcher.get_dispatcher())
    secret = f"{web.url}/private/patient-7.jpg?token=abc"
    control = "<RectangleLabels name='secret-label' toName='image'><Label value='barcode'/></RectangleLabels></View>"
    config = CONFIG.replace("</View>", control)
    body = {"tasks": [{"id": 71, "data": {"image": secret}}], "label_config": config, "project": "secret-project.1"}
    assert open_app.test_client().post("/predict", json=body).get_json() == {"results": [[]]}
    known = app.test_client().get("/status", auth=RIGHT).text
    assert "patient-7" in known
    assert "secret-project" in known
    for path in ("/status", "/metrics", "/health", "/ready"):
        text = open_app.test_client().get(path).text
        assert not any(word in text for word in ("patient", "secret", "demo", "token", "abc")), text
    assert "token=abc" not in known


# Guessing


def guesses(client: FlaskClient, number: int, **request: Any) -> list[int]:
    return [client.get("/status", auth=("annotator", str(each)), **request).status_code for each in range(number)]


def test_who_guesses_is_slowed_down(client: FlaskClient) -> None:
    assert guesses(client, 30) == [401] * 10 + [429] * 20
    answer = client.get("/status", auth=RIGHT)  # not even looked at, so that it tells nothing
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 6
    assert client.get("/health").status_code == 200


def test_who_guesses_locks_nobody_else_out(client: FlaskClient) -> None:
    label_studio, guesser = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}
    guesses(client, 30, environ_overrides=guesser)
    assert client.get("/status", auth=RIGHT, environ_overrides=label_studio).status_code == 200


def test_who_guesses_at_label_studios_own_address_does_not_lock_it_out(client: FlaskClient) -> None:
    assert client.get("/status", auth=RIGHT).status_code == 200
    assert set(guesses(client, 100)) == {401}
    assert client.get("/status", auth=RIGHT).status_code == 200


def test_requests_without_a_password_lock_nobody_out(client: FlaskClient) -> None:
    for _ in range(100):
        client.get("/status")
    assert client.get("/status", auth=RIGHT).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        lambda n: {"environ_overrides": {"REMOTE_ADDR": f"2001:db8::{n:x}"}},  # a network that one client has
        lambda n: {"headers": {"X-Forwarded-For": f"192.0.2.{n}"}},
        lambda n: {"headers": {"Forwarded": f"for=192.0.2.{n}"}},
        lambda n: {"headers": {"X-Real-IP": f"192.0.2.{n}"}},
    ],
    ids=["IPv6", "X-Forwarded-For", "Forwarded", "X-Real-IP"],
)
def test_another_name_for_the_same_client_gives_no_more_guesses(
    client: FlaskClient, address: Callable[[int], dict[str, Any]]
) -> None:
    codes = [client.get("/status", auth=("a", "b"), **address(n)).status_code for n in range(20)]
    assert codes == [401] * 10 + [429] * 10


def test_behind_a_proxy_clients_are_told_apart_by_what_it_saw(start: Start) -> None:
    client = start(trusted_proxies=1).test_client()

    def ask(forwarded: str, password: str) -> int:
        return client.get("/status", auth=("annotator", password), headers={"X-Forwarded-For": forwarded}).status_code

    forged = [ask(f"198.51.100.{n}, 192.0.2.2", "wrong") for n in range(20)]
    assert forged == [401] * 10 + [429] * 10
    assert ask("192.0.2.1", RIGHT[1]) == 200


# Events


def test_events_without_a_password_teach_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str] = []
    monkeypatch.setattr(YOLO, "fit", lambda self, event, data, **_: learnt.append(event))
    client = start().test_client()
    event = {"action": "ANNOTATION_CREATED", "project": PROJECT | {"label_config": "<View/>"}, "annotation": {}}
    assert client.post("/webhook", json=event).status_code == 201
    assert client.post("/webhook", json=event | {"action": "START_TRAINING"}).status_code == 401
    assert client.post("/webhook", json=event, auth=("annotator", "wrong")).status_code == 401
    assert client.post("/webhook", json=event | {"action": "ANNOTATION_UPDATED"}, auth=RIGHT).status_code == 201
    until(lambda: learnt)
    assert learnt == ["ANNOTATION_UPDATED"]


def test_an_event_without_a_password_makes_us_look_at_label_studio(start: Start, web: WebServer) -> None:
    """Neither its address nor its labeling config is believed."""
    changed = CONFIG.replace("</View>", "<RectangleLabels name='l' toName='image' model_path='demo-obb.pt'/></View>")
    web.reply("/api/projects/4/", json.dumps({"label_config": changed}).encode())
    client = start(label_studio_url=web.url, label_studio_api_key="our-own-key").test_client()
    assert client.post("/setup", json={"project": KEY, "schema": CONFIG}, auth=RIGHT).status_code == 200
    forged = PROJECT | {"label_config": "<View/>", "hostname": "http://192.0.2.1"}
    event = {"action": "PROJECT_UPDATED", "project": forged, "hostname": "http://192.0.2.1"}
    assert client.post("/webhook", json=event).status_code == 201
    until(lambda: YOLO(KEY).label_config == changed)
    assert [(asked.method, asked.target) for asked in web.asked] == [("GET", "/api/projects/4/")]
    assert web.asked[0].headers["authorization"] == "Token our-own-key"


@pytest.mark.parametrize(
    "project",
    [
        {"id": 5, "created_at": PROJECT["created_at"]},  # never connected
        {"id": "4/../../users/1", "created_at": PROJECT["created_at"]},
        {"id": "4?x=", "created_at": PROJECT["created_at"]},
        {"id": "٤", "created_at": PROJECT["created_at"]},
        {"id": [4]},
        "4/../..",
        None,
    ],
    ids=str,
)
def test_a_forged_project_makes_us_look_nowhere(start: Start, web: WebServer, project: Any) -> None:
    client = start(label_studio_url=web.url, label_studio_api_key="our-own-key").test_client()
    client.post("/setup", json={"project": KEY, "schema": CONFIG}, auth=RIGHT)
    client.post("/setup", json={"project": "4/../../users/1.1795333388", "schema": CONFIG}, auth=RIGHT)
    assert client.post("/webhook", json={"action": "PROJECT_UPDATED", "project": project}).status_code == 201
    # Events are looked at one after another, so this one comes after that one.
    client.post("/webhook", json={"action": "PROJECT_UPDATED", "project": PROJECT})
    until(lambda: web.asked)
    assert [asked.target for asked in web.asked] == ["/api/projects/4/"]


def test_a_flood_of_events_without_a_password_is_refused(client: FlaskClient) -> None:
    event = {"action": "ANNOTATION_CREATED", "project": PROJECT}
    answers = [client.post("/webhook", json=event) for _ in range(120)]
    codes = [answer.status_code for answer in answers]
    assert codes == [201] * 50 + [429] * 70
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert client.post("/webhook", json=event, auth=RIGHT).status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_event_without_a_password_is_not_read(client: FlaskClient, chunked: bool) -> None:
    event = b'{"action": "ANNOTATION_CREATED", "x": "' + b"x" * (4 << 20) + b'"}'
    read = 0

    class Body(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal read
            data = super().read(size)
            read += len(data)
            return data

    # As gunicorn gives a body that comes in chunks: of unknown length, and with an end.
    unknown = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    environ = {"CONTENT_LENGTH": str(len(event)), "wsgi.input": Body(event)} | (unknown if chunked else {})
    answer = client.post("/webhook", environ_overrides=environ)
    assert answer.status_code == 413
    assert "http://user:password@host:port" in answer.get_json()["error"]
    assert read <= 2 << 20
    assert client.post("/webhook", data=event, auth=RIGHT).status_code == 201


# Somebody's browser

OTHER_SITES = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://evil.example/localhost"},
    {"Origin": "https://localhost:1"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "\x00"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
]


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
def test_a_page_of_another_site_can_send_nothing(client: FlaskClient, headers: dict[str, str], path: str) -> None:
    """A form may send text/plain anywhere, and the browser adds the password that it knows."""
    body = json.dumps({"project": KEY, "schema": CONFIG, "hostname": "http://evil.example"})
    answer = client.post(path, data=body, headers=headers, content_type="text/plain", auth=RIGHT)
    assert answer.status_code == 403
    assert YOLO(KEY).get("hostname") is None


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}], ids=str)
def test_our_own_pages_and_programs_can(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/setup", json={"schema": CONFIG}, headers=headers, auth=RIGHT).status_code == 200


def answers_of_all_kinds(client: FlaskClient) -> Iterator[TestResponse]:
    evil = {"Origin": "http://evil.example"}
    yield client.get("/health", headers=evil)
    yield client.get("/ready", headers=evil)
    yield client.get("/status", headers=evil, auth=RIGHT)
    yield client.get("/status", headers=evil)
    yield client.get("/nowhere", headers=evil, auth=RIGHT)
    yield client.get("/predict", headers=evil, auth=RIGHT)
    yield client.post("/predict", headers=evil, auth=RIGHT)
    yield client.post("/predict", data=b"{", auth=RIGHT)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    yield client.options("/predict", headers=evil | preflight, auth=RIGHT)
    yield client.options("/predict", headers=evil | preflight)


def test_a_page_of_another_site_can_read_nothing(client: FlaskClient) -> None:
    for answer in answers_of_all_kinds(client):
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_every_answer_tells_the_browser_to_be_careful(client: FlaskClient) -> None:
    for answer in answers_of_all_kinds(client):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, answer
