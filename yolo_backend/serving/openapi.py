"""The OpenAPI document of all routes, served at ``/openapi.json``. Tests hold it and the service together."""

from __future__ import annotations

from typing import Any

from yolo_backend import __version__

Json = dict[str, Any]

_REFUSALS = {
    "400": "The request is not what is described here; `error` says what.",
    "401": "User or password is missing or wrong.",
    "403": "A page of another site made a browser send this.",
    "413": "The request's body is too large.",
    "429": "Too many wrong passwords, or too many events without one: wait as `Retry-After` says.",
    "503": "Too much to do: wait as `Retry-After` says.",
}

_MEDIA = {
    "type": ["string", "array"],
    "format": "media",
    "items": {"type": "string", "format": "media"},
    "description": "An address, a path on Label Studio or a data: URI; a list where the config shows pages.",
}


def document() -> Json:
    """Return the document, ready for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "YOLO for Label Studio",
            "version": __version__,
            "description": "An ML backend as Label Studio asks it. The body of a POST is JSON, whatever its content type.",
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


def _paths() -> Json:
    return {
        "/health": {"get": _operation("Whether the service is up", _ref("Health"), open_to_all=True)},
        "/": {"get": _operation("The same as /health, with the password", _ref("Health"), "401")},
        "/ready": {
            "get": _operation(
                "Whether it can predict",
                _ref("Ready"),
                open_to_all=True,
                others={"503": _json("Not yet.", _ref("Ready"))},
            )
        },
        "/status": {"get": _operation("What it is doing; names for who brings the password", _ref("Status"), "401")},
        "/metrics": {
            "get": _operation(
                "For Prometheus",
                "401",
                others={"200": _answer("Metrics.", {"text/plain": {"schema": {"type": "string"}}})},
            )
        },
        "/versions": {
            "get": _operation(
                "The model versions that projects use", _object({"versions": _list({"type": "string"})}), "401"
            )
        },
        "/openapi.json": {"get": _operation("This document", {"type": "object"}, "401")},
        "/setup": {
            "post": _operation(
                "Take a project's labeling config and Label Studio's address",
                _object({"model_version": {"type": "string", "minLength": 1}}),
                *("400", "401", "403", "413"),
                body=_ref("Setup"),
            )
        },
        "/predict": {
            "post": _operation(
                "Make predictions: an item per task, in order",
                _object({"results": _list({"anyOf": [_ref("Prediction"), _list(_ref("Prediction"))]})}),
                *("400", "401", "403", "413", "503"),
                body=_ref("Predict"),
            )
        },
        "/webhook": {
            "post": _operation(
                "Take an event. Without the password it is a hint that makes the service look at Label Studio",
                *("400", "401", "403", "413", "429", "503"),
                body=_ref("Event"),
                others={
                    "200": _json("An event that is unknown here.", _object({"status": {"type": "string"}})),
                    "201": _json("Work in the background.", _object({"job": {"type": "string"}})),
                },
            )
        },
    }


def _schemas() -> Json:
    project = {
        "type": ["string", "integer", "null"],
        "description": "The project's id, a dot, and the second in which it was made.",
        "examples": ["4.1795333388"],
    }
    config = {"type": "string", "format": "labeling-config", "description": "XML."}
    return {
        "Health": _object({"model_class": {"const": "YOLO"}, "status": {"const": "UP"}}),
        "Ready": _object({"status": {"enum": ["READY", "STARTING"]}}),
        "Error": _object({"error": {"type": "string", "minLength": 1}}),
        "Setup": _object(
            {"schema": config},
            project=project,
            hostname={"type": ["string", "null"], "description": "Label Studio's address."},
            access_token={"type": ["string", "null"], "description": "A legacy token of Label Studio."},
            extra_params={"description": "JSON, or the same as a string. Not used."},
        ),
        "Predict": _object(
            {
                "tasks": _list(_ref("Task")),
                "label_config": config
                | {"minLength": 1, "description": "XML. Not needed where /setup has brought one for the project."},
            },
            project=project,
            params={
                "type": ["object", "null"],
                "properties": {"context": {"anyOf": [{"type": "null"}, _ref("Context")]}},
            },
        ),
        "Task": _object(
            {},
            id={"type": ["integer", "string", "null"]},
            data={
                "type": ["object", "null"],
                "description": "Under the names that the labeling config shows: `$image` is `image`.",
                "properties": {"image": _MEDIA, "video": _MEDIA},
                "additionalProperties": True,
            },
        ),
        "Context": _object(
            {},
            result={"type": ["array", "null"], "items": {"type": "object"}, "description": "The regions drawn so far."},
        ),
        "Prediction": _object(
            {
                "result": _list(_ref("Region")),
                "score": {"type": "number", "minimum": 0, "maximum": 1},
                "model_version": {"type": "string", "minLength": 1},
            }
        ),
        "Region": _object(
            {
                "id": {"type": "string", "minLength": 1},
                "from_name": {"type": "string"},
                "to_name": {"type": "string"},
                "type": {"type": "string"},
                "value": {"type": "object"},
                "score": {"type": "number", "minimum": 0, "maximum": 1},
            }
        ),
        "Event": _object(
            {"action": {"type": "string", "minLength": 1, "examples": ["ANNOTATION_CREATED", "START_TRAINING"]}},
            project=project | {"type": ["string", "integer", "null", "object"]},
        ),
        "Status": _object(
            {
                "version": {"type": "string"},
                **{
                    name: {"type": "number", "minimum": 0}
                    for name in (
                        *(
                            "process",
                            "uptime_seconds",
                            "requests_waiting",
                            "requests_refused",
                            "tasks_running_or_queued",
                        ),
                        *("tasks_failed", "predictions_to_post", "predictions_posted"),
                        *("cached_predictions", "cached_megabytes"),
                    )
                },
            },
            models=_list({"type": "object"}),
            projects={
                "type": "object",
                "additionalProperties": _object(
                    {"model_version": {"type": "string"}, "problems": _list({"type": "string"})}
                ),
            },
            failed_tasks=_list(
                _object(
                    {
                        "at": {"type": "string"},
                        "project": {"type": ["string", "null"]},
                        "task": {},
                        "reason": {"type": "string"},
                    }
                )
            ),
        ),
    }


def _operation(
    summary: str, *answers: Json | str, body: Json | None = None, open_to_all: bool = False, others: Json | None = None
) -> Json:
    """Return an operation: of its answers, a schema is that of status 200, and a status is a refusal."""
    responses: Json = {}
    for each in answers:
        if isinstance(each, str):
            responses[each] = _json(
                _REFUSALS[each], _ref("Error"), *(["Retry-After"] if each in ("429", "503") else [])
            )
        else:
            responses["200"] = _json("Done.", each)
    if not open_to_all:
        responses["429"] = _json(_REFUSALS["429"], _ref("Error"), "Retry-After")
    responses |= others or {}
    operation: Json = {"summary": summary, "responses": dict(sorted(responses.items()))}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if open_to_all:
        operation["security"] = []
    return operation


def _json(description: str, schema: Json, *headers: str) -> Json:
    return _answer(description, {"application/json": {"schema": schema}}, *headers)


def _answer(description: str, content: Json, *headers: str) -> Json:
    names = ("X-Request-ID", *headers)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": content,
    }


def _object(required: Json, **optional: Json) -> Json:
    return {"type": "object", "properties": required | optional, "required": list(required)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
