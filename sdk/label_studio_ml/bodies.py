"""Request bodies: what Label Studio sends, as models that check it and describe themselves as JSON schemas."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticKnownError
from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException, RequestEntityTooLarge

Body = TypeVar("Body", bound="RequestBody")

MAX_EXTRA_PARAMS = 100_000  # characters, as JSON
BODY_TIMEOUT = 30.0  # seconds of silence after which the rest of a body is no longer waited for

_JSON_TYPES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def _project_key(value: Any) -> Any:
    """Return the project as ``/setup`` and ``/predict`` name it: its id and the second in which it was made.

    Events bring the project itself instead, with the same two parts.
    """
    if isinstance(value, dict):
        project_id = value.get("id")
        try:
            created = datetime.fromisoformat(str(value.get("created_at")).replace("Z", "+00:00"))
            return f"{project_id}.{int(created.timestamp())}"
        except (ValueError, OverflowError):
            return None if project_id is None else str(project_id)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    raise PydanticCustomError(
        "project_type",
        "must be a string such as '4.1795333388' or an object, got {found}",
        {"found": _JSON_TYPES[type(value)]},
    )


def _limited(value: Any) -> Any:
    if len(json.dumps(value)) > MAX_EXTRA_PARAMS:
        raise PydanticKnownError("string_too_long", {"max_length": MAX_EXTRA_PARAMS})
    return value


def _unicode(value: str) -> str:
    """Refuse half a surrogate pair, which JSON can write but nothing can store. Limited strings are checked by pydantic."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PydanticKnownError("string_unicode") from None
    return value


ProjectKey = Annotated[
    Annotated[str, Field(max_length=200)] | None,
    BeforeValidator(_project_key),
    WithJsonSchema(
        {
            "type": ["string", "integer", "object", "null"],
            "description": "The project's id, a dot, and the second in which it was made; or the project itself.",
            "examples": ["4.1795333388"],
        }
    ),
]
XML_FORMAT: dict[str, Any] = {"format": "labeling-config"}
LabelConfig = Annotated[str, AfterValidator(_unicode), Field(description="XML.", json_schema_extra=XML_FORMAT)]
# Objects are checked but not copied, as pydantic copies a dict: a request may hold 100,000 tasks.
Task = Annotated[
    InstanceOf[dict[str, Any]],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"id": {"type": ["integer", "string", "null"]}, "data": {"type": ["object", "null"]}},
        }
    ),
]
Context = Annotated[
    InstanceOf[dict[str, Any]],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"result": {"type": ["array", "null"], "items": {"type": "object"}}},
            "description": "In interactive mode: the regions drawn so far, under `result`.",
        }
    ),
]


class RequestBody(BaseModel):
    """What all bodies have in common. Fields that aren't described here are ignored: Label Studio adds some over time."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    project: ProjectKey = None


class SetupBody(RequestBody):
    """The body of ``/setup``. Its fields are limited, since they are kept and anybody may be able to send them."""

    label_config: str = Field(alias="schema", max_length=2_000_000, description="XML.", json_schema_extra=XML_FORMAT)
    hostname: Annotated[str, Field(max_length=2_000)] | None = Field(None, description="Label Studio's address.")
    access_token: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description="A legacy token of Label Studio."
    )
    extra_params: Annotated[Any, BeforeValidator(_limited)] = Field(
        None, description="JSON, or the same as a string. For the model."
    )


class PredictParams(BaseModel):
    """Parameters of a prediction request; those that aren't described here are the model's own."""

    model_config = ConfigDict(strict=True, extra="allow")

    # The user and the password of the data are for nobody's log, and no model asks for them.
    login: Any = Field(None, repr=False)
    password: Any = Field(None, repr=False)
    context: Context | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the model's ``predict``."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in {"tasks", "self"}}


class PredictBody(RequestBody):
    """The body of ``/predict``."""

    # One task may come without a list around it.
    tasks: Annotated[list[Task], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)]
    label_config: LabelConfig | None = Field(
        None, description="Not needed where /setup has brought one for the project."
    )
    params: PredictParams | None = None
    context: Context | None = Field(None, description="The same as params.context.")


class EventBody(RequestBody):
    """The body of ``/webhook``."""

    action: str = Field(min_length=1, examples=["ANNOTATION_CREATED", "START_TRAINING"])
    label_config: SkipJsonSchema[LabelConfig | None] = Field(
        None, validation_alias=AliasPath("project", "label_config")
    )


def json_object() -> dict[str, Any]:
    """Return the request's body, whatever its content type says it is.

    Raises:
        BadRequest: It can't be read, or is no JSON object.
        RequestEntityTooLarge: It is longer than ``request.max_content_length``.
    """
    data = _data()
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request's body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"The request's body must be a JSON object, got {_JSON_TYPES[type(body)]}")
    return body


def checked(model: type[Body], body: dict[str, Any]) -> Body:
    """Return a body as a model.

    Raises:
        BadRequest: A field is missing or of another type; the message names the first such field.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadRequest(_explanation(error.errors(include_url=False)[0])) from error


_REQUIRED = {
    "schema": "the labeling config (XML) as a string",
    "tasks": "a list of tasks",
    "action": "the name of an event, such as 'START_TRAINING'",
}
_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "model_type": "an object",
    "is_instance_of": "an object",
}


def _explanation(problem: ErrorDetails) -> str:
    """Say what is wrong with a field, in the terms of JSON."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]).lstrip(".")
    kind, value, details = problem["type"], problem["input"], problem.get("ctx", {})
    if path in _REQUIRED and (kind == "missing" or value in (None, "")):
        return f"Field '{path}' is missing or null; expected {_REQUIRED[path]}"
    if kind in _EXPECTED:
        return f"Field '{path}' must be {_EXPECTED[kind]}, got {_JSON_TYPES[type(value)]}"
    if kind == "string_unicode":
        return f"Field '{path}' is not valid Unicode: it holds half a surrogate pair"
    if kind == "string_too_long":
        return f"Field '{path}' is longer than the {details['max_length']} characters that are kept"
    return f"Field '{path}' {problem['msg']}"


def _data() -> bytes:
    try:
        with _impatience():
            data = request.get_data(cache=False)
    except ClientDisconnected as error:
        raise BadRequest("The request's body ended early, or its rest did not come in time") from error
    except HTTPException:
        raise
    except Exception as error:
        # Each WSGI server has errors of its own for chunks that are none.
        raise BadRequest(f"The request's body can't be read: {type(error).__name__}") from error
    if request.content_length is None:
        if len(data) == request.max_content_length:
            # Of a body that doesn't say its length, what is too much is left unread.
            raise RequestEntityTooLarge
    elif len(data) < request.content_length:
        raise BadRequest(f"The request's body ended early, after {len(data)} of {request.content_length} bytes")
    return data


@contextmanager
def _impatience() -> Iterator[None]:
    """End reads of the connection after some silence: servers wait for ever for what a chunk has announced."""
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if not isinstance(connection, socket.socket) or connection.gettimeout() is not None:
        yield
        return
    connection.settimeout(BODY_TIMEOUT)
    try:
        yield
    finally:
        connection.settimeout(None)
