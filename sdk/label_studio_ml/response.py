"""What ``predict`` returns: checked, and written for Label Studio."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from label_studio_sdk.label_interface.objects import PredictionValue
from label_studio_sdk.label_interface.region import Region
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

logger = logging.getLogger(__name__)


class ModelResponse(BaseModel):
    """The predictions for a list of tasks: one item per task, in the order of the tasks.

    An item is a prediction, or a list of predictions where a task gets several. The empty list means that there is none:
    the task stays without a prediction and Label Studio can ask again. Predictions may be given as plain dicts.

    Attributes:
        predictions: One item per task.
        model_version: The version for the predictions that carry none of their own.
    """

    # "model_" is pydantic's own prefix; the field's name is Label Studio's.
    model_config = ConfigDict(protected_namespaces=())

    predictions: list[list[PredictionValue] | PredictionValue]
    model_version: str | None = None

    @field_validator("predictions", mode="before")
    @classmethod
    def _none_is_no_prediction(cls, items: Any) -> Any:
        return [[] if item is None else item for item in items] if isinstance(items, Sequence) else items

    def has_model_version(self) -> bool:
        """Tell whether the response as a whole has a version."""
        return bool(self.model_version)

    def set_version(self, version: str) -> None:
        """Set the version of the response, and of every prediction without one."""
        self.model_version = version
        self.update_predictions_version()

    def update_predictions_version(self) -> None:
        """Give the response's version to every prediction that has none."""
        for item in self.predictions:
            for prediction in item if isinstance(item, list) else [item]:
                if not prediction.model_version:
                    prediction.model_version = self.model_version


class ModelError(Exception):
    """The model broke a promise that Label Studio relies on."""

    status_code = 500


def model_response(answer: Any, expected: int, *, is_interactive: bool, source: str) -> ModelResponse:
    """Return what ``predict`` returned as a response with an item per task.

    A response without any item stands for no prediction on any task.

    Args:
        answer: What it returned: a response, or a list of its items.
        expected: The number of tasks.
        is_interactive: The answer goes to an editor, which needs a prediction always, if only an empty one.
        source: What to call the method in messages.

    Raises:
        ModelError: It returned something else.
    """
    if isinstance(answer, ModelResponse):
        response = answer
    elif isinstance(answer, list | tuple):
        try:
            response = ModelResponse(predictions=list(answer))
        except ValidationError as error:
            # pydantic reports on each form that an item may have; the deepest report is about the form that was meant.
            problem = max(error.errors(include_url=False, include_input=False), key=lambda problem: len(problem["loc"]))
            _, index, *path = problem["loc"]
            where = ".".join(str(step) for step in path)
            raise ModelError(f"{source} returned no prediction as item {index}: {where}: {problem['msg']}") from error
    else:
        raise ModelError(f"{source} returned {type(answer).__name__}, expected a ModelResponse or a list")
    if not response.predictions:
        response.predictions = [[] for _ in range(expected)]
    if len(response.predictions) != expected:
        # Label Studio saves nothing then, and tells its user that all went well.
        raise ModelError(f"{source} returned {len(response.predictions)} predictions for {expected} tasks")
    if is_interactive:
        response.predictions = [item or PredictionValue(result=[], score=0.0) for item in response.predictions]
    return response


def results_json(response: ModelResponse, tasks: Sequence[dict[str, Any]]) -> str:
    """Write the response as Label Studio reads it: ``{"results": [...]}``, one item per task.

    Each item is written on its own, so that one that can't be (a score that is not a number, say) becomes ``[]`` and a
    line in the log, while its neighbours are kept. Label Studio would otherwise lose them all.
    """
    items = [_item_json(item, task) for item, task in zip(response.predictions, tasks, strict=True)]
    return f'{{"results": [{", ".join(items)}]}}'


def _item_json(item: list[PredictionValue] | PredictionValue, task: dict[str, Any]) -> str:
    try:
        plain = [_prediction(part) for part in item] if isinstance(item, list) else _prediction(item)
        return json.dumps(plain, allow_nan=False, default=_plain_value)
    except (TypeError, ValueError, RecursionError):
        logger.exception("The prediction for task %s can't be written as JSON and is left out", task.get("id"))
        return "[]"


def _prediction(prediction: PredictionValue) -> dict[str, Any] | list[Any]:
    """Return the fields that Label Studio reads. Regions are not copied: an RLE mask is a list of millions of numbers."""
    regions = prediction.result
    if regions is None:
        return []
    if any(isinstance(region, Region) for region in regions):
        regions = prediction.model_dump()["result"]
    written = {"result": regions, "score": prediction.score}
    if prediction.model_version:
        # Label Studio refuses the whole answer when one version in it is null.
        written["model_version"] = str(prediction.model_version)
    return written


def _plain_value(value: Any) -> Any:
    """Turn a number or an array of NumPy or torch into Python's own numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
