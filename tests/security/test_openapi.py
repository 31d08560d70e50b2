"""The document at ``/openapi.json`` is true: of every route, and of every answer that a fuzzer gets."""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from tests.security.conftest import RIGHT, Start
from tests.security.fuzz import fuzz
from tests.support.networks import Networks
from yolo_backend.serving.openapi import document
from yolo_backend.settings import BUNDLED_MODELS


def test_every_route_is_described_and_no_other(start: Start) -> None:
    app = start()
    routes = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert described == routes


def test_the_password_is_asked_for_where_the_document_says_so(start: Start) -> None:
    client = start().test_client()
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            body = {"action": "START_TRAINING"} if path == "/webhook" else None
            answer = client.open(path, method=method.upper(), json=body)
            assert (answer.status_code == 401) == (operation.get("security") != []), path


def test_what_is_served_is_the_document(start: Start) -> None:
    client: FlaskClient = start().test_client()
    assert client.get("/openapi.json", auth=RIGHT).get_json() == document()


def test_the_service_withstands_a_fuzzer(tmp_path: Path, networks: Networks) -> None:
    """A short version of ``make fuzz``."""
    networks.give(tmp_path / "data", *BUNDLED_MODELS.glob("*.pt"))
    outcome = fuzz(tmp_path, examples=10, seed=1)
    assert outcome.failures == ""
    assert outcome.tracebacks == []
    assert outcome.requests > 200
    assert outcome.predicted > 0
    assert not [status for status in outcome.statuses if status >= "500"]
