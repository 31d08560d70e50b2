"""The HTTP interface that Label Studio expects of an ML backend.

``init_app(MyModel)`` makes the Flask application. Every error leaves it as ``{"error": "..."}`` with a fitting status; a
traceback goes to the log alone. An exception of the model's own that has a ``status_code`` (an int) is answered with that
status and its message; any other is a 500 that names its class only, since a message may hold what is not for everybody.
"""

import json
import logging
import math
import queue
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, RequestEntityTooLarge

from label_studio_ml.auth import Credentials, credentials, is_authenticated, open_to_all
from label_studio_ml.jobs import Jobs
from label_studio_ml.limits import Guard, RateLimit, neighbourhood
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse, results_json

logger = logging.getLogger(__name__)

TRAINING_EVENTS = frozenset(
    {
        "START_TRAINING",
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATION_DELETED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
    }
)
"""The events that a model can learn from; ``fit`` is called for these."""

OTHER_EVENTS = frozenset({"TASKS_CREATED", "TASKS_DELETED", "PROJECT_UPDATED"})
"""Further events that Label Studio sends."""

# A retrieval of 100,000 tasks has about 50 MB.
MAX_REQUEST_BYTES = 512 * 1024 * 1024

MAX_HINT_BYTES = 1024 * 1024
"""The largest event that is read though it brings no password."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer tells a browser, unless its route has said something else."""

MOST_KEPT = {"project": 200, "schema": 2_000_000, "hostname": 2_000, "access_token": 10_000, "extra_params": 100_000}
"""The most characters that ``/setup`` takes in a field that is kept: whoever reaches the service can send some."""

_server: Flask
"""The application that ``init_app`` made last."""


@dataclass(frozen=True)
class Service:
    """What the routes of one application work with."""

    model_class: type[LabelStudioMLBase]
    credentials: Credentials | None
    jobs: Jobs
    guard: Guard
    hints: RateLimit


blueprint = Blueprint("label_studio_ml", __name__)


def init_app(
    model_class: type[LabelStudioMLBase], basic_auth_user: str | None = None, basic_auth_pass: str | None = None
) -> Flask:
    """Make the application.

    Args:
        model_class: The model; an instance of it is made for every request.
        basic_auth_user: With the next, what a request must bring; by default ``BASIC_AUTH_USER``. Empty for none.
        basic_auth_pass: By default ``BASIC_AUTH_PASS``. Empty for none.

    Raises:
        ValueError: One of user and password is set without the other.
    """
    global _server
    if not (isinstance(model_class, type) and issubclass(model_class, LabelStudioMLBase)):
        raise TypeError(f"model_class must be a class derived from LabelStudioMLBase, got {model_class!r}")
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.config["TRUSTED_PROXIES"] = 0  # how many of them write X-Forwarded-For
    app.extensions["label_studio_ml"] = Service(
        model_class=model_class,
        credentials=credentials(basic_auth_user, basic_auth_pass),
        jobs=Jobs(),
        guard=Guard(),
        hints=RateLimit(burst=50, per_second=10),
    )
    app.before_request(_refuse_other_sites)
    app.before_request(_authenticate)
    app.after_request(_add_security_headers)
    app.register_error_handler(Exception, _error_answer)
    app.register_blueprint(blueprint)
    _server = app
    return app


# Routes


@blueprint.get("/health")
@open_to_all
def health() -> Response:
    """Tell that the service is up. Makes no model and asks for no password: probes have none."""
    return jsonify(model_class=_service().model_class.__name__, status="UP")


@blueprint.get("/")
def root() -> Response:
    """Answer as ``/health`` does."""
    return health()


@blueprint.post("/setup")
def setup() -> Response:
    """Take a project's labeling config and Label Studio's address; tell the model version."""
    body = _json_object()
    label_config = _optional(body, "schema", str)
    if label_config is None:
        raise BadRequest("Field 'schema' is missing or null; expected the labeling config (XML) as a string")
    hostname = _optional(body, "hostname", str)
    access_token = _optional(body, "access_token", str)
    kept = {"schema": label_config, "hostname": hostname, "access_token": access_token}
    kept["extra_params"] = json.dumps(body.get("extra_params"))
    for name, value in kept.items():
        if len(value or "") > MOST_KEPT[name]:
            raise BadRequest(f"Field '{name}' is longer than the {MOST_KEPT[name]} characters that are kept")
    model = _service().model_class(project_id=_project_key(body), label_config=label_config)
    model.use_label_config(label_config)
    if hostname is not None or access_token is not None:
        model.set_label_studio(hostname or "", access_token or "")
    try:
        model.set_extra_params(body.get("extra_params"))
    except ValueError as error:
        # Not worth a refusal: Label Studio would show no more than "disconnected".
        logger.warning("Extra parameters of project %r are left out: %s", model.project_id, error)
    version = _model_version(model)
    model.set("reported_model_version", version)
    return jsonify(model_version=version)


@blueprint.post("/predict")
def predict() -> Response:
    """Make predictions: as many items as tasks, in their order."""
    body = _json_object()
    tasks = _tasks(body)
    params = _optional(body, "params", dict) or {}
    context = _optional(params, "context", dict, where="params.")
    if context is None:
        context = _optional(body, "context", dict)
    project_key = _project_key(body)
    label_config = _optional(body, "label_config", str)
    if not tasks:
        return jsonify(results=[])
    model_class = _service().model_class
    model = model_class(project_id=project_key, label_config=label_config)
    if not model.label_config:
        raise BadRequest(
            "Field 'label_config' is missing or null, and no /setup has brought one for this project; "
            "expected the labeling config (XML) as a string"
        )
    # The data's own user and password are for nobody's log, and no model asks for them.
    kwargs = {
        key: value for key, value in params.items() if key not in {"login", "password", "context", "tasks", "self"}
    }
    answer = model.predict(tasks, context=context, **kwargs)
    response = _model_response(model_class, answer, len(tasks))
    if not response.has_model_version():
        response.model_version = _model_version(model)
    response.update_predictions_version()
    return Response(results_json(response, tasks), mimetype="application/json")


@blueprint.post("/webhook")
def webhook() -> tuple[Response, int]:
    """Take an event of Label Studio; the model learns from it in the background.

    Label Studio sends events without the password, unless it is in the backend's URL. So an event without one is taken
    too, but what it says is not believed: see ``LabelStudioMLBase.hint``.
    """
    trusted = _service().credentials is None or is_authenticated()
    if not trusted:
        if wait := _service().hints.count(_client()):
            return _later("Too many events without a password", wait)
        # Counted while it is read: a body may come in chunks, and nobody says how many.
        request.max_content_length = MAX_HINT_BYTES
    try:
        body = _json_object()
    except RequestEntityTooLarge:
        if trusted:
            raise
        raise RequestEntityTooLarge(
            f"Without a password an event may have {MAX_HINT_BYTES} bytes; put user and password in the URL that "
            "Label Studio has for this service: http://user:password@host:port"
        ) from None
    action = _optional(body, "action", str)
    if not action:
        raise BadRequest("Field 'action' is missing or null; expected the name of an event, such as 'START_TRAINING'")
    if action not in TRAINING_EVENTS | OTHER_EVENTS:
        logger.debug("An unknown event")
        return jsonify(status="Unknown event"), 200
    if not trusted and action == "START_TRAINING":
        return _unauthorized()
    model_class, key = _service().model_class, _project_key(body)
    logger.debug("Event %s of project %.60r%s", action, key, "" if trusted else ", without a password: a hint")
    if trusted and action in TRAINING_EVENTS:
        project = body.get("project")
        config = _optional(project, "label_config", str, where="project.") if isinstance(project, dict) else None
        call, about = partial(_fit, model_class, key, config, action, body), None
    else:
        call, about = partial(_hint, model_class, key, action), (key, action)
    try:
        job = _service().jobs.submit(call, once=about)
    except queue.Full:
        logger.error("Event %s is lost: too many events wait for the model to learn from them", action)
        return jsonify(error="Too many events are waiting; ask again later"), 503
    return jsonify(job=job), 201


def _fit(
    model_class: type[LabelStudioMLBase],
    project_key: str | None,
    label_config: str | None,
    event: str,
    data: dict[str, Any],
) -> None:
    model_class(project_id=project_key, label_config=label_config).fit(event, data)


def _hint(model_class: type[LabelStudioMLBase], project_key: str | None, event: str) -> None:
    model = model_class(project_id=project_key)
    if model.has("label_config"):
        model.hint(event)
    else:
        logger.debug("An event %s of a project that has never been connected", event)


@blueprint.get("/versions")
def versions() -> Response:
    """List the model versions in use: those that ``/setup`` told last, one per project."""
    model = _service().model_class(project_id=None, label_config=None)
    return jsonify(versions=model.cache.values("reported_model_version") or [_model_version(model)])


@blueprint.get("/metrics")
def metrics() -> Response:
    """Report nothing; an application that measures itself puts its own function in this one's place."""
    return jsonify({})


# What a request brings


def _json_object() -> dict[str, Any]:
    """Return the request's body, whatever its content type says it is."""
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) == request.max_content_length:
        # Of a body that doesn't say its length, what is too much is left unread.
        raise RequestEntityTooLarge
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request's body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"The request's body must be a JSON object, got {_json_type(body)}")
    return body


def _tasks(body: dict[str, Any]) -> list[dict[str, Any]]:
    tasks = _optional(body, "tasks", list)
    if tasks is None:
        raise BadRequest("Field 'tasks' is missing or null; expected a list of tasks")
    for index, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise BadRequest(f"Field 'tasks[{index}]' must be an object, got {_json_type(task)}")
    return tasks


def _project_key(body: dict[str, Any]) -> str | None:
    """Return the project as ``/setup`` and ``/predict`` name it: its id and the second in which it was made.

    Webhooks bring the project itself instead, with the same two parts.
    """
    project = body.get("project")
    if isinstance(project, dict):
        project_id = project.get("id")
        try:
            created = int(datetime.fromisoformat(str(project.get("created_at")).replace("Z", "+00:00")).timestamp())
        except (ValueError, OverflowError):
            return None if project_id is None else _short("project.id", str(project_id))
        return _short("project.id", f"{project_id}.{created}")
    if project is None or (isinstance(project, str | int) and not isinstance(project, bool)):
        return None if project is None else _short("project", str(project))
    raise BadRequest(f"Field 'project' must be a string such as '4.1795333388' or an object, got {_json_type(project)}")


def _short(name: str, value: str) -> str:
    if len(value) > MOST_KEPT["project"]:
        raise BadRequest(f"Field '{name}' has {len(value)} characters, and a project's name has few")
    return _text(name, value)


def _optional(body: dict[str, Any], name: str, type_: type, where: str = "") -> Any:
    """Return a field, None where it is missing or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, type_):
        raise BadRequest(f"Field '{where}{name}' must be {_NAMES[type_]} or null, got {_json_type(value)}")
    return _text(name, value) if isinstance(value, str) else value


def _text(name: str, value: str) -> str:
    """Return a string, unless it is one that JSON can write but nothing can store: half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"Field '{name}' is not valid Unicode: {error.reason}") from error
    return value


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def _json_type(value: Any) -> str:
    return _NAMES[type(value)]


# What the model brings


def _model_version(model: LabelStudioMLBase) -> str:
    """Return the version for ``/setup`` and ``/predict`` alike: when they differ, Label Studio predicts again and again."""
    return str(model.model_version or model.INITIAL_MODEL_VERSION)


def _model_response(model_class: type[LabelStudioMLBase], answer: Any, expected: int) -> ModelResponse:
    """Return what ``predict`` returned as a response with an item per task.

    Raises:
        ModelError: It is nothing of the kind.
    """
    method = f"{model_class.__name__}.predict"
    if isinstance(answer, ModelResponse):
        response = answer
    elif isinstance(answer, list | tuple):
        try:
            response = ModelResponse(predictions=list(answer))
        except ValidationError as error:
            # Of what pydantic says of each form that an item may have, the deepest is about the form that was meant.
            found = max(error.errors(include_url=False, include_input=False), key=lambda each: len(each["loc"]))
            _, index, *place = found["loc"]
            where = ".".join(str(part) for part in place)
            raise ModelError(f"{method} returned no prediction as item {index}: {where}: {found['msg']}") from error
    else:
        raise ModelError(f"{method} returned {type(answer).__name__}, expected a ModelResponse or a list")
    if len(response.predictions) != expected:
        # Label Studio saves nothing then, and tells its user that all went well.
        raise ModelError(f"{method} returned {len(response.predictions)} predictions for {expected} tasks")
    return response


class ModelError(Exception):
    """The model broke a promise that Label Studio relies on."""

    status_code = 500


# Around every request


def _service() -> Service:
    return current_app.extensions["label_studio_ml"]


def _client() -> str:
    """Return who is asking, as the last of the proxies that are trusted (``TRUSTED_PROXIES`` of them) has seen it."""
    proxies = current_app.config["TRUSTED_PROXIES"]
    seen = request.access_route
    return neighbourhood(seen[-proxies] if 0 < proxies <= len(seen) else request.remote_addr)


def _refuse_other_sites() -> None:
    """Refuse what a page of another site makes a browser do: it would bring the password that the browser remembers.

    Label Studio's server and other programs send none of these headers.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    origin, relation = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    # Browsers say the relation on safe connections alone, but know it better than a service behind a proxy.
    own = relation in {"same-origin", "none"} if relation else not origin or origin.partition("://")[2] == request.host
    if not own:
        raise Forbidden("A page of another site made the browser send this request")


def _authenticate() -> tuple[Response, int] | None:
    service = _service()
    view = current_app.view_functions.get(request.endpoint or "")
    if service.credentials is None or getattr(view, "open_to_all", False):
        return None
    header = request.headers.get("Authorization")
    if not header:
        if view is webhook:
            return None
        logger.info("%s %r: no user and password", request.method, request.path)
        return _unauthorized()
    client = _client()
    if wait := service.guard.wait(client):
        return _later("Too many wrong passwords", wait)
    if service.credentials.accept(header):
        service.guard.succeeded(client)
        g.authenticated = True
        return None
    logger.info("%s %r: wrong user or password, from %s", request.method, request.path, client)
    if service.guard.failed(client):
        logger.warning("Too many wrong passwords from %s: more are not looked at for a while", client)
    return _unauthorized()


def _unauthorized() -> tuple[Response, int]:
    answer = jsonify(error="This service asks for basic authentication; set user and password on the ML backend")
    answer.headers["WWW-Authenticate"] = 'Basic realm="ML backend", charset="UTF-8"'
    return answer, 401


def _later(reason: str, seconds: float) -> tuple[Response, int]:
    answer = jsonify(error=f"{reason}; ask again later")
    answer.headers["Retry-After"] = str(math.ceil(seconds))
    return answer, 429


def _add_security_headers(answer: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _error_answer(error: Exception) -> tuple[Response, int]:
    if isinstance(error, HTTPException):
        # Label Studio shows its users no more than the status, so the log is where the reason can be read.
        level = logging.DEBUG if error.code in {404, 405} else logging.WARNING
        logger.log(level, "%s %r: %s %s", request.method, request.path, error.code, error.description)
        answer = jsonify(error=error.description or error.name)
        if allowed := getattr(error, "valid_methods", None):
            answer.headers["Allow"] = ", ".join(sorted(allowed))
        return answer, error.code or 500
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 600:
        logger.error("%s %r: %s", request.method, request.path, error, exc_info=error if status >= 500 else None)
        return jsonify(error=str(error)), status
    logger.error("%s %r failed", request.method, request.path, exc_info=error)
    return jsonify(error=f"Internal error ({type(error).__name__}); the log of the ML backend has the details"), 500
