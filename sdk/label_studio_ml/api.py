"""The HTTP interface that Label Studio expects of an ML backend.

``init_app(MyModel)`` makes the Flask application. Every error leaves it as ``{"error": "..."}`` with a fitting status; a
traceback goes to the log alone. An exception of the model's own that has a ``status_code`` (an int) is answered with that
status and its message; any other is a 500 that names its class only, since its message may hold a secret.
"""

import logging
import os
import queue
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, request
from werkzeug.exceptions import BadRequest, NotFound, RequestEntityTooLarge
from werkzeug.local import LocalProxy

from label_studio_ml.access import authenticate, client, refuse_other_sites, refuse_unknown_hosts
from label_studio_ml.answers import add_security_headers, error_answer, too_many, unauthorized
from label_studio_ml.auth import credentials, is_authenticated, open_to_all, password_optional
from label_studio_ml.bodies import EventBody, PredictBody, PredictParams, SetupBody, checked, json_object
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import model_response, results_json
from label_studio_ml.service import EXTENSION, Service, current_service, has_service

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

MAX_UNTRUSTED_EVENT_BYTES = 1024 * 1024
"""The largest event that is read though it brings no password."""

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
    global _application
    if not (isinstance(model_class, type) and issubclass(model_class, LabelStudioMLBase)):
        raise TypeError(f"model_class must be a class derived from LabelStudioMLBase, got {model_class!r}")
    service = Service(model_class, credentials(basic_auth_user, basic_auth_pass))
    if has_service(_application):
        _application = _new_application()
    _application.extensions[EXTENSION] = service
    return _application


def _new_application() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.config["TRUSTED_PROXIES"] = 0  # how many of them write X-Forwarded-For
    app.config["ALLOWED_HOSTS"] = os.environ.get("ALLOWED_HOSTS", "").split(",")
    app.before_request(refuse_unknown_hosts)
    app.before_request(refuse_other_sites)
    app.before_request(authenticate)
    app.after_request(add_security_headers)
    app.register_error_handler(Exception, error_answer)
    app.register_blueprint(blueprint)
    return app


@blueprint.get("/health")
@open_to_all
def health() -> Response:
    """Report that the service is up. Makes no model and asks for no password: probes have none."""
    return jsonify(model_class=current_service().model_class.__name__, status="UP")


@blueprint.get("/")
def root() -> Response:
    """Answer as ``/health`` does."""
    return health()


@blueprint.post("/setup")
def setup() -> Response:
    """Take a project's labeling config and Label Studio's address; return the model version."""
    body = checked(SetupBody, json_object())
    model = current_service().model_class(project_id=body.project, label_config=body.label_config)
    model.use_label_config(body.label_config)
    if body.hostname is not None or body.access_token is not None:
        model.set_label_studio(body.hostname or "", body.access_token or "", is_trusted=is_authenticated())
    try:
        model.set_extra_params(body.extra_params)
    except ValueError as error:
        # Not worth a refusal: Label Studio would show no more than "disconnected".
        logger.warning("Extra parameters of project %r are left out: %s", model.project_id, error)
    version = _model_version(model)
    model.set("reported_model_version", version)
    return jsonify(model_version=version)


@blueprint.post("/predict")
def predict() -> Response:
    """Make predictions: as many items as tasks, in their order."""
    body = checked(PredictBody, json_object())
    if not body.tasks:
        return jsonify(results=[])
    model_class = current_service().model_class
    model = model_class(project_id=body.project, label_config=body.label_config)
    if not model.label_config:
        raise BadRequest(
            "Field 'label_config' is missing or null, and no /setup has brought one for this project; "
            "expected the labeling config (XML) as a string"
        )
    params = body.params or PredictParams()
    context = body.context if params.context is None else params.context
    answer = model.predict(body.tasks, context=context, **params.arguments())
    response = model_response(
        answer, len(body.tasks), is_interactive=context is not None, source=f"{model_class.__name__}.predict"
    )
    if not response.has_model_version():
        response.model_version = _model_version(model)
    response.update_predictions_version()
    return Response(results_json(response, body.tasks), mimetype="application/json")


@blueprint.post("/webhook")
@password_optional
def webhook() -> tuple[Response, int]:
    """Take an event of Label Studio; the model learns from it in the background.

    Label Studio sends events without the password, unless it is in the backend's URL. So an event without one is taken
    too, but its content is not believed: see ``LabelStudioMLBase.on_untrusted_event``.
    """
    is_trusted = current_service().credentials is None or is_authenticated()
    if not is_trusted and (delay := current_service().untrusted_events.hit(client())):
        return too_many("events without a password", delay)
    data = json_object() if is_trusted else _small_json_object()
    body = checked(EventBody, data)
    if body.action not in TRAINING_EVENTS | OTHER_EVENTS:
        logger.debug("An unknown event")
        return jsonify(status="Unknown event"), 200
    if not is_trusted and body.action == "START_TRAINING":
        return unauthorized()
    model_class = current_service().model_class
    logger.debug("Event %s of project %.60r%s", body.action, body.project, "" if is_trusted else ", without a password")
    if is_trusted and body.action in TRAINING_EVENTS:
        call, topic = partial(_fit, model_class, body.project, body.label_config, body.action, data), None
    else:
        call, topic = partial(_notice, model_class, body.project, body.action), (body.project, body.action)
    try:
        job = current_service().jobs.submit(call, topic=topic)
    except queue.Full:
        logger.error("Event %s is lost: the model has too many others to learn from", body.action)
        return jsonify(error="Too many events are waiting; ask again later"), 503
    return jsonify(job=job), 201


def _small_json_object() -> dict[str, Any]:
    # Enforced while it is read: a body may come in chunks, whose number nothing says.
    request.max_content_length = MAX_UNTRUSTED_EVENT_BYTES
    try:
        return json_object()
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(
            f"Without a password an event may have {MAX_UNTRUSTED_EVENT_BYTES} bytes; put user and password in the URL "
            "that Label Studio has for this service: http://user:password@host:port"
        ) from None


def _fit(
    model_class: type[LabelStudioMLBase],
    project_key: str | None,
    label_config: str | None,
    event: str,
    data: dict[str, Any],
) -> None:
    model_class(project_id=project_key, label_config=label_config).fit(event, data)


def _notice(model_class: type[LabelStudioMLBase], project_key: str | None, event: str) -> None:
    model = model_class(project_id=project_key)
    if model.has("label_config"):
        model.on_untrusted_event(event)
    else:
        logger.debug("An event %s of a project that has never been connected", event)


@blueprint.get("/versions")
def versions() -> Response:
    """Tell the model version of a project, ``?project=``: the one that ``/setup`` reported last.

    Label Studio doesn't say which project it asks for. Where there is more than one version, the answer is 404, and it
    shows the one that it knows of the project.
    """
    project = request.args.get("project")
    model = current_service().model_class(project_id=project, label_config=None)
    if project is not None:
        known: list[str | None] = [model.get("reported_model_version")]
    else:
        known = [*sorted(set(model.cache.by_project("reported_model_version").values()))] or [_model_version(model)]
    if known == [None]:
        raise NotFound("No /setup has connected this project")
    if len(known) > 1:
        raise NotFound("Several projects are connected; ask for one of them with ?project=")
    return jsonify(versions=known)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Report nothing; an application that measures itself replaces this view."""
    return jsonify({})


def _model_version(model: LabelStudioMLBase) -> str:
    """Return the version for ``/setup`` and ``/predict`` alike: if they differ, Label Studio predicts again and again."""
    return str(model.model_version or model.INITIAL_MODEL_VERSION)


_application = _new_application()
_server: Flask = LocalProxy(lambda: _application)  # type: ignore[assignment]  # it has all of its attributes
"""The application that ``init_app`` made last; until then one that serves ``LabelStudioMLBase``, which it will fill."""
