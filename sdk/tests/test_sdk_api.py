"""The HTTP interface, asked as Label Studio 1.23 asks: the bodies in data/ are its own."""

from __future__ import annotations

import io
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from label_studio_ml import api
from label_studio_ml.api import OTHER_EVENTS, TRAINING_EVENTS, init_app
from label_studio_ml.bodies import EventBody
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse
from label_studio_sdk.label_interface.objects import PredictionValue

Captured = Callable[[str], dict[str, Any]]

CONFIG = '<View><Image name="image" value="$image"/></View>'
TASKS = [{"id": number, "data": {"image": f"{number}.jpg"}} for number in (1, 2)]
REGION = {"from_name": "a", "to_name": "b", "type": "choices", "value": {"choices": ["C"]}}


class Recorder(LabelStudioMLBase):
    """Answers with what the test put there, and remembers how it was asked."""

    answer: ClassVar[Callable[..., Any]]
    asked: ClassVar[list[dict[str, Any]]]
    events: ClassVar[queue.Queue[tuple[LabelStudioMLBase, str, dict[str, Any]]]]
    untrusted: ClassVar[queue.Queue[tuple[LabelStudioMLBase, str]]]

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> Any:
        type(self).asked.append({"model": self, "tasks": tasks, "context": context, "kwargs": kwargs})
        return type(self).answer(tasks)

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> None:
        type(self).events.put((self, event, data))

    def on_untrusted_event(self, event: str) -> None:
        type(self).untrusted.put((self, event))


def one_each(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"result": [], "score": 0.5} for _ in tasks]


@pytest.fixture(autouse=True)
def _fresh_recorder() -> None:
    Recorder.answer, Recorder.asked, Recorder.events, Recorder.untrusted = one_each, [], queue.Queue(), queue.Queue()


@pytest.fixture
def client() -> FlaskClient:
    return init_app(Recorder).test_client()


def answering(answer: Any) -> None:
    """Let the model return this, or what a function of the tasks returns."""
    Recorder.answer = answer if callable(answer) else lambda tasks: answer


def shortened(value: object) -> str:
    return str(value)[:80]


def ask(client: FlaskClient, **changes: Any) -> Any:
    return client.post("/predict", json={"tasks": TASKS, "project": "4.1795333388", "label_config": CONFIG} | changes)


class BrokenModel(LabelStudioMLBase):
    def setup(self) -> None:
        raise RuntimeError("made in vain")


@pytest.mark.parametrize("path", ["/health", "/"])
def test_health_makes_no_model(path: str) -> None:
    response = init_app(BrokenModel).test_client().get(path)
    assert response.status_code == 200
    assert response.text == '{"model_class":"BrokenModel","status":"UP"}\n'


# /setup


def test_setup_tells_the_version_and_keeps_what_came(client: FlaskClient, captured: Captured) -> None:
    body = captured("setup")
    response = client.post("/setup", json=body)
    assert (response.status_code, response.json) == (200, {"model_version": "0.0.1"})
    model = Recorder("4.1795333388")
    assert model.project_id == "4"
    assert model.label_config == body["schema"]
    assert model.get_label_studio_hostname() == "http://localhost:8081"
    assert model.get_label_studio_access_token() == body["access_token"]
    assert model.extra_params == {"a": 1}


def test_projects_of_two_servers_with_the_same_id_are_kept_apart(client: FlaskClient, captured: Captured) -> None:
    for created, host in (("1795333388", "http://one"), ("1700000000", "http://two")):
        client.post("/setup", json=captured("setup") | {"project": f"4.{created}", "hostname": host})
    assert Recorder("4.1795333388").get_label_studio_hostname() == "http://one"
    assert Recorder("4.1700000000").get_label_studio_hostname() == "http://two"
    assert Recorder("4").get_label_studio_hostname() == ""


def test_the_last_setup_counts(client: FlaskClient, captured: Captured) -> None:
    client.post("/setup", json=captured("setup"))
    client.post("/setup", json=captured("setup") | {"schema": CONFIG, "access_token": "", "extra_params": None})
    model = Recorder("4.1795333388")
    assert model.label_config == CONFIG
    assert model.extra_params == {}


FIRST = ("http://localhost:8081", "first token")
KEY = "4.1795333388"


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ({"hostname": "http://evil"}, True),
        ({"hostname": "http://evil", "access_token": None}, True),
        ({"hostname": "http://evil", "access_token": FIRST[1]}, True),
        ({"hostname": FIRST[0], "access_token": "another"}, True),
        ({"access_token": "mine"}, True),
        ({"hostname": FIRST[0], "access_token": FIRST[1]}, False),
        ({"hostname": FIRST[0], "access_token": ""}, False),  # legacy tokens were switched off
        ({}, False),
    ],
    ids=str,
)
def test_first_address_and_token_stay(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, said: dict, is_refused: bool
) -> None:
    body = {"project": KEY, "schema": CONFIG}
    client.post("/setup", json=body | {"hostname": FIRST[0], "access_token": FIRST[1]})
    assert client.post("/setup", json=body | said).status_code == 200
    assert Recorder(KEY).setup_credentials() == FIRST
    assert ("which stays" in caplog.text) == is_refused
    assert ("set LABEL_STUDIO_URL" in caplog.text) == is_refused


@pytest.mark.parametrize("first", [("", ""), (FIRST[0], "")])
def test_a_token_may_come_later(client: FlaskClient, first: tuple[str, str]) -> None:
    body = {"project": KEY, "schema": CONFIG}
    client.post("/setup", json=body | {"hostname": first[0], "access_token": first[1]})
    client.post("/setup", json=body | {"hostname": FIRST[0], "access_token": FIRST[1]})
    assert Recorder(KEY).setup_credentials() == FIRST


def test_a_password_lets_setup_change_the_address() -> None:
    client = init_app(Recorder, "u", "p").test_client()
    for host in (FIRST[0], "http://moved"):
        body = {"project": KEY, "schema": CONFIG, "hostname": host, "access_token": ""}
        assert client.post("/setup", json=body, auth=("u", "p")).status_code == 200
    assert Recorder(KEY).setup_credentials() == ("http://moved", "")


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        *(
            (host, True)
            for host in ("localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "10.1.2.3", "203.0.113.7")
        ),
        *((host, True) for host in ("yolo-backend:9090", "host.docker.internal:9090", "yolo.apps.svc.cluster.local")),
        *(
            (host, True)
            for host in ("yolo.apps.svc:9090", "ml01.local", "LOCALHOST", "named.example.com", "a.b.example.org:80")
        ),
        *(
            (host, False)
            for host in ("evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil.example")
        ),
        *((host, False) for host in ("example.org", "notexample.org", "evil.com.", "svc.evil.com", "[::1].evil.com")),
    ],
)
def test_names_that_others_may_own_are_refused_without_a_password(
    monkeypatch: pytest.MonkeyPatch, host: str, is_allowed: bool
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "named.example.com, *.example.org")
    open_client = init_app(Recorder, "", "").test_client()
    assert open_client.get("/health", headers={"Host": host}).status_code == (200 if is_allowed else 421)
    closed = init_app(Recorder, "u", "p").test_client()
    assert closed.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"project": None},
        {"project": 4},
        {"project": ""},
        {"hostname": None},
        {"access_token": None},
        {"access_token": ""},
        {"extra_params": None},
        {"extra_params": ""},
        {"extra_params": '{"a": 1}'},
        {"extra_params": [1, 2]},
        {"extra_params": "no JSON"},
        {"schema": ""},
        {"schema": "<View/>"},
        {"schema": "no XML"},  # for the model to judge: this one doesn't look at it
        {"something": "else"},
    ],
    ids=shortened,
)
def test_setup_tolerates(client: FlaskClient, captured: Captured, changes: dict[str, Any]) -> None:
    response = client.post("/setup", json=captured("setup") | changes)
    assert (response.status_code, response.json) == (200, {"model_version": "0.0.1"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": None}, "'schema' is missing or null"),
        ({"schema": {}}, "'schema' must be a string, got an object"),
        ({"project": ["4"]}, "'project' must be a string such as '4.1795333388' or an object, got a list"),
        ({"project": True}, "'project' must be"),
        ({"project": 4.5}, "'project' must be"),
        ({"schema": "<View/>\ud800"}, "'schema' is not valid Unicode"),
        ({"hostname": 1}, "'hostname' must be a string, got a number"),
        ({"hostname": "x" * 2001}, "'hostname' is longer than the 2000 characters that are kept"),
        ({"access_token": "x" * 10_001}, "'access_token' is longer than the 10000 characters that are kept"),
        ({"schema": "x" * 2_000_001}, "'schema' is longer than the 2000000 characters that are kept"),
        ({"extra_params": {"x": ["x"] * 100_000}}, "'extra_params' is longer than the 100000 characters that are kept"),
        ({"project": "4" * 201}, "'project' is longer than the 200 characters that are kept"),
        ({"access_token": ["x"]}, "'access_token' must be a string, got a list"),
    ],
    ids=shortened,
)
def test_setup_refuses(client: FlaskClient, captured: Captured, changes: dict[str, Any], message: str) -> None:
    response = client.post("/setup", json=captured("setup") | changes)
    assert response.status_code == 400
    assert message in response.get_json()["error"]


# /predict


def test_predict_a_batch(client: FlaskClient, captured: Captured) -> None:
    body = captured("predict_batch")
    answering([[], {"result": [REGION], "score": 0.87}])
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.json == {"results": [[], {"result": [REGION], "score": 0.87, "model_version": "0.0.1"}]}
    (asked,) = Recorder.asked
    assert asked["tasks"] == body["tasks"]
    assert asked["context"] is None
    assert asked["kwargs"] == {}
    assert asked["model"].label_config == body["label_config"]
    assert asked["model"].project_key == "4.1795333388"


def test_predict_interactively(client: FlaskClient, captured: Captured) -> None:
    body = captured("predict_interactive")
    assert client.post("/predict", json=body).get_json()["results"] == [
        {"result": [], "score": 0.5, "model_version": "0.0.1"}
    ]
    assert Recorder.asked[0]["context"] == body["params"]["context"]


def test_predict_uses_what_setup_handed_over(client: FlaskClient, captured: Captured) -> None:
    client.post("/setup", json=captured("setup"))
    client.post("/predict", json=captured("predict_batch"))
    model = Recorder.asked[0]["model"]
    assert model.get_label_studio_access_token() == captured("setup")["access_token"]
    assert model.get_label_studio_hostname() == "http://localhost:8081"


def test_parameters_reach_the_model_but_for_the_password(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    params: dict[str, Any] = {
        "login": "me",
        "password": "hidden",
        "context": None,
        "threshold": 0.3,
        "tasks": [],
        "self": 1,
    }
    assert ask(client, params=params).status_code == 200
    assert Recorder.asked[0]["kwargs"] == {"threshold": 0.3}
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"project": None},
        {"project": 4},
        {"params": None},
        {"params": {}},
        {"params": {"context": None}},
        {"params": {"context": {}}},
        {"context": None},
        {"context": {"result": []}},
        {"tasks": [{}, {"id": None, "data": None}]},
    ],
    ids=shortened,
)
def test_predict_tolerates(client: FlaskClient, changes: dict[str, Any]) -> None:
    response = ask(client, **changes)
    assert response.status_code == 200
    assert len(response.get_json()["results"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": None}, "'tasks' is missing or null; expected a list of tasks"),
        ({"tasks": "1,2"}, "'tasks' must be a list, got a string"),
        ({"tasks": [TASKS[0], None]}, "'tasks[1]' must be an object, got null"),
        ({"tasks": [[]]}, "'tasks[0]' must be an object, got a list"),
        ({"tasks": [17]}, "'tasks[0]' must be an object, got a number"),
        ({"project": []}, "'project' must be a string"),
        ({"project": "4\ud800"}, "'project' is not valid Unicode"),
        ({"label_config": "<View/>\udfff"}, "'label_config' is not valid Unicode"),
        ({"label_config": 5}, "'label_config' must be a string, got a number"),
        ({"label_config": None}, "'label_config' is missing or null, and no /setup has brought one"),
        ({"label_config": ""}, "'label_config' is missing or null"),
        ({"params": []}, "'params' must be an object, got a list"),
        ({"params": "x"}, "'params' must be an object, got a string"),
        ({"params": {"context": [1]}}, "'params.context' must be an object, got a list"),
        ({"params": {"context": False}}, "'params.context' must be an object, got a boolean"),
    ],
    ids=shortened,
)
def test_predict_refuses(
    client: FlaskClient, changes: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = ask(client, **changes)
    assert response.status_code == 400
    assert message in response.get_json()["error"]
    assert message in caplog.text
    assert not Recorder.asked


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"{'tasks': []}", "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (b"<html>", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"project": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"null", "must be a JSON object, got null"),
        (b"[]", "must be a JSON object, got a list"),
        (b'"text"', "must be a JSON object, got a string"),
        (b"5", "must be a JSON object, got a number"),
        (b"true", "must be a JSON object, got a boolean"),
    ],
    ids=lambda value: str(value[:15]),
)
def test_a_body_that_is_no_object(client: FlaskClient, path: str, body: bytes, message: str) -> None:
    response = client.post(path, data=body, content_type="application/json")
    assert response.status_code == 400
    assert message in response.get_json()["error"]


def test_the_content_type_is_not_asked_for(client: FlaskClient) -> None:
    body = json.dumps({"tasks": TASKS, "label_config": CONFIG})
    assert client.post("/predict", data=body, content_type="text/plain").status_code == 200


def test_no_tasks_no_results(client: FlaskClient) -> None:
    assert client.post("/predict", json={"tasks": []}).json == {"results": []}
    assert not Recorder.asked


def test_without_a_labeling_config_that_of_the_last_setup_is_used(client: FlaskClient, captured: Captured) -> None:
    client.post("/setup", json=captured("setup"))
    assert ask(client, label_config=None).status_code == 200
    assert Recorder.asked[0]["model"].label_config == captured("setup")["schema"]
    assert ask(client, label_config=None, project="5.1795333388").status_code == 400


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VERSIONED = {"result": [REGION], "score": 0.5, "model_version": "mine"}
PLAIN = {"result": [REGION], "score": 0.5}
WRITTEN = {"result": [REGION], "score": 0.5, "model_version": "0.0.1"}
EMPTY = {"result": [], "score": 0.0, "model_version": "0.0.1"}


@pytest.mark.parametrize(
    ("answer", "results"),
    [
        pytest.param([PLAIN, PLAIN], [WRITTEN, WRITTEN], id="dicts"),
        pytest.param((PLAIN, PLAIN), [WRITTEN, WRITTEN], id="a tuple"),
        pytest.param([PredictionValue(**PLAIN), PLAIN], [WRITTEN, WRITTEN], id="prediction values"),
        pytest.param(ModelResponse(predictions=[PLAIN, PLAIN]), [WRITTEN, WRITTEN], id="a response"),
        pytest.param([VERSIONED, PLAIN], [VERSIONED, WRITTEN], id="its own version stays"),
        pytest.param(
            ModelResponse(predictions=[PLAIN, PLAIN], model_version="mine"),
            [VERSIONED] * 2,
            id="the response's version",
        ),
        pytest.param([PLAIN | {"model_version": None}, PLAIN], [WRITTEN, WRITTEN], id="null as a version"),
        pytest.param([PLAIN | {"model_version": ""}, PLAIN], [WRITTEN, WRITTEN], id="an empty version"),
        pytest.param([PLAIN | {"model_version": 3}, PLAIN], [WRITTEN | {"model_version": "3"}, WRITTEN], id="a number"),
        pytest.param([[], []], [[], []], id="failed tasks"),
        pytest.param([None, None], [[], []], id="null for failed tasks"),
        pytest.param([], [[], []], id="no items at all"),
        pytest.param(ModelResponse(predictions=[]), [[], []], id="a response without items"),
        pytest.param([[PLAIN, VERSIONED], []], [[WRITTEN, VERSIONED], []], id="several for a task"),
        pytest.param([{"result": []}, {"result": None}], [EMPTY, []], id="nothing found, and nothing at all"),
        pytest.param([PLAIN | {"score": None}, []], [WRITTEN | {"score": None}, []], id="no score"),
        pytest.param([PLAIN | {"cluster": 1, "neighbors": {}}, []], [WRITTEN, []], id="fields that nobody reads"),
        pytest.param(
            [{"result": [{"value": {"x": np.float32(0.5), "rle": np.arange(3)}}], "score": np.float32(0.5)}, []],
            [{"result": [{"value": {"x": 0.5, "rle": [0, 1, 2]}}], "score": 0.5, "model_version": "0.0.1"}, []],
            id="NumPy's numbers",
        ),
        pytest.param([PLAIN | {"score": float("nan")}, PLAIN], [[], WRITTEN], id="a score that is no number"),
        pytest.param([{"result": [{"value": float("inf")}]}, PLAIN], [[], WRITTEN], id="an infinite value"),
        pytest.param([{"result": [{"value": object()}]}, PLAIN], [[], WRITTEN], id="a value without a form in JSON"),
        pytest.param([{"result": [{"value": {(1, 2): 3}}]}, PLAIN], [[], WRITTEN], id="a key without a form in JSON"),
        pytest.param([{"result": [{"value": nested(100_000)}]}, PLAIN], [[], WRITTEN], id="nested too deeply"),
    ],
)
def test_what_the_model_returns_and_label_studio_gets(client: FlaskClient, answer: Any, results: list[Any]) -> None:
    answering(answer)
    response = ask(client)
    assert response.status_code == 200
    assert json.loads(response.text, parse_constant=pytest.fail) == {"results": results}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([PLAIN], "Recorder.predict returned 1 predictions for 2 tasks"),
        ([PLAIN] * 3, "Recorder.predict returned 3 predictions for 2 tasks"),
        (None, "Recorder.predict returned NoneType, expected a ModelResponse or a list"),
        ({"results": []}, "Recorder.predict returned dict"),
        ("text", "Recorder.predict returned str"),
        ([PLAIN, "text"], "Recorder.predict returned no prediction as item 1: "),
        ([PLAIN, {"score": 1}], "as item 1: PredictionValue.result: Field required"),
        ([[PLAIN, {"result": "text"}], []], "as item 0: list[PredictionValue].1.result: Input should be a valid list"),
    ],
    ids=shortened,
)
def test_an_answer_that_label_studio_would_drop_silently_is_an_error(
    client: FlaskClient, answer: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    answering(answer)
    response = ask(client)
    assert response.status_code == 500
    assert message in response.get_json()["error"]
    assert message in caplog.text


class BusyError(Exception):
    status_code = 503


class OddError(Exception):
    status_code = "none"


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (ValueError("token=secret"), 500, "Internal error (ValueError)"),
        (OddError("token=secret"), 500, "Internal error (OddError)"),
        (NotImplementedError(), 500, "Internal error (NotImplementedError)"),
        (RecursionError("secret"), 500, "Internal error (RecursionError)"),
        (BusyError("Ask again later"), 503, "Ask again later"),
    ],
)
def test_an_error_of_the_model(
    client: FlaskClient, error: Exception, status: int, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(tasks: list[Any]) -> None:
        raise error

    answering(fail)
    response = ask(client)
    assert response.status_code == status
    assert response.get_json()["error"].startswith(expected)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "in fail" in caplog.text  # the traceback


def test_a_model_may_abort_as_flask_does(client: FlaskClient) -> None:
    answering(lambda tasks: abort(503, "The model is being replaced"))
    response = ask(client)
    assert (response.status_code, response.json) == (503, {"error": "The model is being replaced"})


def test_a_labeling_config_that_is_no_xml_is_the_clients_error(client: FlaskClient) -> None:
    class Parsing(LabelStudioMLBase):
        def predict(self, tasks: list[Any], context: Any = None, **kwargs: Any) -> Any:
            return self.parsed_label_config

    response = ask(init_app(Parsing).test_client(), label_config="<View>")
    assert response.status_code == 400
    assert "labeling config of project 4 is not valid" in response.get_json()["error"]


def test_setup_and_predict_tell_the_same_version_however_the_class_makes_it(captured: Captured) -> None:
    class Computed(Recorder):
        @property
        def model_version(self) -> str:
            return f"weights-{len(self.label_config)}"

        def setup(self) -> None:
            self.set("model_version", "what the cache holds")

    client = init_app(Computed).test_client()
    body = captured("setup")
    version = client.post("/setup", json=body).get_json()["model_version"]
    (prediction, _) = ask(client, label_config=body["schema"]).get_json()["results"]
    assert prediction["model_version"] == version == f"weights-{len(body['schema'])}"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_version_is_never_null(nothing: str | None, captured: Captured) -> None:
    class Nothing(Recorder):
        @property
        def model_version(self) -> Any:
            return nothing

    client = init_app(Nothing).test_client()
    assert client.post("/setup", json=captured("setup")).json == {"model_version": "0.0.1"}
    assert [each["model_version"] for each in ask(client).get_json()["results"]] == ["0.0.1", "0.0.1"]


@pytest.mark.parametrize("answer", [[], [[]], [None], ModelResponse(predictions=[])], ids=repr)
def test_an_editor_always_gets_a_prediction(client: FlaskClient, captured: Captured, answer: Any) -> None:
    answering(answer)
    results = client.post("/predict", json=captured("predict_interactive")).get_json()["results"]
    assert results == [EMPTY]


# /webhook


@pytest.mark.parametrize(
    "name",
    ["start_training", "annotation_created", "annotation_updated", "annotations_created", "annotations_deleted"],
)
def test_the_model_learns_from_an_event(client: FlaskClient, captured: Captured, name: str) -> None:
    body = captured(name)
    response = client.post("/webhook", json=body)
    assert response.status_code == 201
    assert response.get_json()["job"]
    model, event, data = Recorder.events.get(timeout=10)
    assert event == body["action"] == name.upper()
    assert data == body
    assert model.label_config == body["project"]["label_config"]
    assert model.project_id == str(body["project"]["id"])


def test_an_event_belongs_to_the_project_that_was_set_up(client: FlaskClient, captured: Captured) -> None:
    client.post("/setup", json=captured("setup"))
    client.post("/webhook", json=captured("start_training"))
    model, _, _ = Recorder.events.get(timeout=10)
    assert model.project_key == captured("setup")["project"]
    assert model.get_label_studio_access_token() == captured("setup")["access_token"]


@pytest.mark.parametrize(
    ("project", "key"),
    [
        (None, ""),
        ({}, ""),
        ("4.1795333388", "4.1795333388"),
        (4, "4"),
        ({"id": 4}, "4"),
        ({"id": 4, "created_at": None}, "4"),
        ({"id": 4, "created_at": "yesterday"}, "4"),
        ({"id": 4, "created_at": 17}, "4"),
        ({"id": 4, "created_at": "2026-11-22T07:43:08.042688Z"}, "4.1795333388"),
        ({"id": 4, "created_at": "2026-11-22T07:43:08Z"}, "4.1795333388"),
        ({"id": 4, "created_at": "2026-11-22T08:43:08.999999+01:00"}, "4.1795333388"),
    ],
    ids=shortened,
)
def test_the_project_of_an_event(client: FlaskClient, project: Any, key: str) -> None:
    assert client.post("/webhook", json={"action": "START_TRAINING", "project": project}).status_code == 201
    model, _, _ = Recorder.events.get(timeout=10)
    assert model.project_key == key


@pytest.mark.parametrize("name", ["tasks_created", "tasks_deleted", "project_updated"])
def test_events_with_nothing_to_learn_are_hints(client: FlaskClient, captured: Captured, name: str) -> None:
    body = captured(name)
    project = EventBody.model_validate(body).project
    client.post("/setup", json=captured("setup") | {"project": project})
    assert client.post("/webhook", json=body).status_code == 201
    model, event = Recorder.untrusted.get(timeout=10)
    assert (model.project_key, event) == (project, body["action"])
    assert Recorder.events.empty()


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"action": "COFFEE_MADE"}, 200, {"status": "Unknown event"}),
        ({"action": "start_training"}, 200, {"status": "Unknown event"}),
        ({}, 400, "Field 'action' is missing or null"),
        ({"action": None}, 400, "Field 'action' is missing or null"),
        ({"action": ""}, 400, "Field 'action' is missing or null"),
        ({"action": 5}, 400, "Field 'action' must be a string, got a number"),
        ({"action": "START_TRAINING", "project": [4]}, 400, "Field 'project' must be"),
        (
            {"action": "START_TRAINING", "project": {"label_config": 4}},
            400,
            "Field 'project.label_config' must be a string, got a number",
        ),
    ],
    ids=shortened,
)
def test_other_events(client: FlaskClient, body: dict[str, Any], status: int, answer: Any) -> None:
    response = client.post("/webhook", json=body)
    assert response.status_code == status
    assert response.json == answer if status == 200 else answer in response.get_json()["error"]
    assert Recorder.events.empty()


def test_the_tables_of_events_are_those_of_the_contract() -> None:
    known = {"START_TRAINING", "ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"}
    assert known <= TRAINING_EVENTS
    assert {"TASKS_CREATED", "TASKS_DELETED", "PROJECT_UPDATED"} == OTHER_EVENTS


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Slow(Recorder):
    gate: ClassVar[threading.Event]

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> None:
        assert type(self).gate.wait(timeout=30)
        if data.get("fails"):
            raise RuntimeError("learned nothing")
        super().fit(event, data)


def test_events_are_answered_while_the_model_still_learns_and_kept_in_order(gate: threading.Event) -> None:
    Slow.gate = gate
    client = init_app(Slow).test_client()
    bodies = [{"action": "ANNOTATION_CREATED", "number": number, "fails": number == 1} for number in range(4)]
    # No fit can end before the gate opens, so these answers don't wait for one.
    answers = [client.post("/webhook", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.get_json()["job"] for answer in answers}) == 4
    assert Slow.events.empty()
    gate.set()
    assert [Slow.events.get(timeout=10)[2]["number"] for _ in range(3)] == [0, 2, 3]


def test_an_error_in_fit_is_logged(caplog: pytest.LogCaptureFixture, gate: threading.Event) -> None:
    Slow.gate = gate
    gate.set()
    client = init_app(Slow).test_client()
    job = client.post("/webhook", json={"action": "START_TRAINING", "fails": True}).get_json()["job"]
    client.post("/webhook", json={"action": "START_TRAINING"})
    Slow.events.get(timeout=10)  # the second, so the first has ended
    assert job in caplog.text
    assert "learned nothing" in caplog.text


def test_too_many_events_are_refused(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    Slow.gate = gate
    app = init_app(Slow)
    app.extensions["label_studio_ml"].jobs._queue.maxsize = 2
    client = app.test_client()
    codes = [client.post("/webhook", json={"action": "START_TRAINING"}).status_code for _ in range(5)]
    assert set(codes) == {201, 503}
    assert codes[:2] == [201, 201]
    assert codes[3:] == [503, 503]


def test_a_model_that_does_not_learn_takes_events_too(captured: Captured) -> None:
    assert (
        init_app(LabelStudioMLBase).test_client().post("/webhook", json=captured("start_training")).status_code == 201
    )


# The rest


def test_versions_are_those_that_setup_told(captured: Captured) -> None:
    class Computed(LabelStudioMLBase):
        @property
        def model_version(self) -> str:
            return f"v-{self.project_id or 'none'}"

    client = init_app(Computed).test_client()
    assert client.get("/versions").json == {"versions": ["v-none"]}
    for project in ("4.1", "4.2"):
        client.post("/setup", json=captured("setup") | {"project": project})
    assert client.get("/versions").json == {"versions": ["v-4"]}
    client.post("/setup", json=captured("setup") | {"project": "5.1"})
    # No project is told the versions of others; Label Studio shows what it knows where the answer is 404.
    assert client.get("/versions").status_code == 404
    assert client.get("/versions?project=5.1").json == {"versions": ["v-5"]}
    assert client.get("/versions?project=6.1").status_code == 404


def test_metrics(client: FlaskClient) -> None:
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/predict", 405),
        ("GET", "/setup", 405),
        ("POST", "/health", 405),
        ("DELETE", "/webhook", 405),
        ("GET", "/static/../model.py", 404),
    ],
)
def test_pages_that_are_not_there(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert response.get_json()["error"]
    assert ("Allow" in response.headers) == (status == 405)


def test_a_body_that_is_too_large(client: FlaskClient) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 100
    response = ask(client)
    assert response.status_code == 413
    assert response.get_json()["error"]
    body = io.BytesIO(b'{"tasks": []}' + b" " * 200)
    response = client.post("/predict", input_stream=body, environ_overrides={"wsgi.input_terminated": True})
    assert response.status_code == 413


def test_two_applications_in_one_process(captured: Captured) -> None:
    class Other(LabelStudioMLBase):
        INITIAL_MODEL_VERSION = "7"

    first = init_app(Recorder)
    second = init_app(Other, basic_auth_user="u", basic_auth_pass="p")
    assert isinstance(first, Flask)
    assert api._server == second
    assert first.test_client().get("/health").get_json()["model_class"] == "Recorder"
    assert second.test_client().get("/health").get_json()["model_class"] == "Other"
    assert first.test_client().get("/versions").json == {"versions": ["0.0.1"]}
    assert second.test_client().get("/versions").status_code == 401


@pytest.mark.parametrize("wrong", [None, "YOLO", object, LabelStudioMLBase()], ids=repr)
def test_what_is_no_model_class_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="derived from LabelStudioMLBase"):
        init_app(wrong)
