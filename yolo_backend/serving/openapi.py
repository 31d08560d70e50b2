"""The OpenAPI document of all routes, served at ``/openapi.json``. Tests hold it and the service together.

The models of requests are those that check them.
"""

from __future__ import annotations

from typing import Any

from label_studio_ml.bodies import EventBody, SetupBody
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from yolo_backend import __version__
from yolo_backend.serving.schemas import (
    Error,
    Health,
    Job,
    ModelVersion,
    Predict,
    Predictions,
    Readiness,
    Status,
    UnknownEvent,
    Versions,
)

Json = dict[str, Any]
Model = type[BaseModel]

REQUESTS: tuple[Model, ...] = (SetupBody, Predict, EventBody)
ANSWERS: tuple[Model, ...] = (
    *(Health, Readiness, Error, ModelVersion, Versions, Predictions, UnknownEvent, Job, Status),
)

_REFUSALS = {
    "400": "The request is not what is described here; `error` says what is wrong.",
    "401": "User or password is missing or wrong.",
    "403": "A page of another site made a browser send this.",
    "404": "No such project is known, or several are and none is named.",
    "413": "The request's body is too large.",
    "429": "Too many wrong passwords, or too many events without one: wait as `Retry-After` says.",
    "503": "Too much to do: wait as `Retry-After` says.",
}
_ANY_POST = ("400", "401", "403", "413")


def document() -> Json:
    """Return the document, ready for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "YOLO for Label Studio",
            "version": __version__,
            "description": "An ML backend for Label Studio. The body of a POST is JSON, whatever its content type.",
            "license": {"name": "AGPL-3.0", "identifier": "AGPL-3.0-only"},
        },
        "security": [{"basic": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "`BASIC_AUTH_USER` and `BASIC_AUTH_PASS`; without them nothing is asked for.",
                }
            },
            "headers": {
                "X-Request-ID": {"description": "The id of the request in the log.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}},
            },
            "schemas": _schemas(),
        },
    }


def _schemas() -> Json:
    models: list[tuple[Model, JsonSchemaMode]] = [
        *((model, "validation") for model in REQUESTS),
        *((model, "serialization") for model in ANSWERS),
    ]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    definitions: Json = schemas["$defs"]
    return definitions


def _paths() -> Json:
    return {
        "/health": {"get": _operation("Whether the service is up", Health, open_to_all=True)},
        "/": {"get": _operation("The same as /health, with the password", Health, "401")},
        "/ready": {
            "get": _operation(
                "Whether it can predict",
                Readiness,
                open_to_all=True,
                others={"503": _json("Not yet.", Readiness)},
            )
        },
        "/status": {"get": _operation("What it is doing; names only with the password", Status, "401")},
        "/metrics": {
            "get": _operation(
                "For Prometheus",
                "401",
                others={"200": _answer("Metrics.", {"text/plain": {"schema": {"type": "string"}}})},
            )
        },
        "/versions": {
            "get": _operation("The model version of a project", Versions, "401", "404")
            | {"parameters": [{"name": "project", "in": "query", "schema": {"type": "string"}}]}
        },
        "/openapi.json": {
            "get": _operation(
                "This document",
                "401",
                others={"200": _answer("Done.", {"application/json": {"schema": {"type": "object"}}})},
            )
        },
        "/setup": {
            "post": _operation(
                "Take a project's labeling config and Label Studio's address",
                ModelVersion,
                *_ANY_POST,
                body=SetupBody,
            )
        },
        "/predict": {
            "post": _operation("Make predictions", Predictions, *_ANY_POST, "503", body=Predict),
        },
        "/webhook": {
            "post": _operation(
                "Take an event. One without the password only makes the service look at Label Studio",
                *(*_ANY_POST, "429", "503"),
                body=EventBody,
                others={
                    "200": _json("An event that is unknown here.", UnknownEvent),
                    "201": _json("Work in the background.", Job),
                },
            )
        },
    }


def _operation(
    summary: str,
    *answers: Model | str,
    body: Model | None = None,
    open_to_all: bool = False,
    others: Json | None = None,
) -> Json:
    """Return an operation; among its answers a model is that of status 200, and a status is a refusal."""
    responses: Json = {}
    for answer in answers:
        if isinstance(answer, str):
            responses[answer] = _refusal(answer)
        else:
            responses["200"] = _json("Done.", answer)
    if not open_to_all:
        responses["429"] = _refusal("429")
    responses |= others or {}
    operation: Json = {"summary": summary, "responses": dict(sorted(responses.items()))}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    if open_to_all:
        operation["security"] = []
    return operation


def _refusal(status: str) -> Json:
    return _json(_REFUSALS[status], Error, *(["Retry-After"] if status in ("429", "503") else []))


def _json(description: str, model: Model, *headers: str) -> Json:
    return _answer(description, _content(model), *headers)


def _answer(description: str, content: Json, *headers: str) -> Json:
    names = ("X-Request-ID", *headers)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": content,
    }


def _content(model: Model) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
