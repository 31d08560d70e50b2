"""What the routes take and answer, as models from which the OpenAPI document is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from label_studio_ml.bodies import PredictBody
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_MEDIA = {
    "type": ["string", "array"],
    "format": "media",
    "items": {"type": "string", "format": "media"},
    "description": "An address, a path on Label Studio or a data: URI; a list where the config shows pages.",
}
_TASK = {
    "type": "object",
    "properties": {
        "id": {"type": ["integer", "string", "null"]},
        "data": {
            "type": ["object", "null"],
            "description": "Under the names that the labeling config shows: `$image` is `image`.",
            "properties": {"image": _MEDIA, "video": _MEDIA},
            "additionalProperties": True,
        },
    },
}

Task = Annotated[dict[str, Any], WithJsonSchema(_TASK)]
NonEmpty = Annotated[str, Field(min_length=1)]
Score = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=0)]


class _Answer(BaseModel):
    # Label Studio's names begin with pydantic's own prefix, "model_".
    model_config = ConfigDict(protected_namespaces=())


class Predict(PredictBody):
    """The body of `/predict`, with what this model looks for in a task."""

    tasks: list[Task]


class Health(_Answer):
    """The answer of a process that is up."""

    model_class: Literal["YOLO"]
    status: Literal["UP"]


class Readiness(_Answer):
    """Whether the models' libraries are loaded."""

    status: Literal["READY", "STARTING"]


class Error(_Answer):
    """What is wrong, and what helps."""

    error: NonEmpty


class ModelVersion(_Answer):
    """The version of the predictions for a project."""

    model_version: NonEmpty


class Versions(_Answer):
    """The version of a project, in a list."""

    versions: list[str]


class Region(_Answer):
    """A region as Label Studio's editor draws it."""

    id: NonEmpty
    from_name: str
    to_name: str
    type: str
    value: dict[str, Any]
    score: Score


class Prediction(_Answer):
    """The regions of one task."""

    result: list[Region]
    score: Score
    model_version: NonEmpty


class Predictions(_Answer):
    """An item per task, in order; an empty list for a task that failed."""

    results: list[Prediction | list[Prediction]]


class UnknownEvent(_Answer):
    """An event that changes nothing."""

    status: str


class Job(_Answer):
    """The name of the work in the log."""

    job: str


class FailedTask(_Answer):
    """A task that could not be predicted."""

    at: str
    project: str | None
    task: Any
    reason: str


class ProjectStatus(_Answer):
    """What is known about a project."""

    model_version: str
    problems: list[str]


class Status(_Answer):
    """Numbers; with the password also names of models, projects and tasks."""

    version: str
    process: Number
    uptime_seconds: Number
    requests_waiting: Number
    requests_refused: Number
    tasks_running_or_queued: Number
    tasks_failed: Number
    predictions_to_post: Number
    predictions_posted: Number
    cached_predictions: Number
    cached_megabytes: Number
    models: list[dict[str, Any]] = []
    projects: dict[str, ProjectStatus] = {}
    failed_tasks: list[FailedTask] = []
