"""What ``predict`` returns, and how it is written for Label Studio."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from label_studio_sdk.label_interface.objects import PredictionValue
from label_studio_sdk.label_interface.region import Region
from pydantic import BaseModel, ConfigDict, field_validator

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
        """Tell whether the response as a whole names a version."""
        return bool(self.model_version)

    def set_version(self, version: str) -> None:
        """Name the version, for the response and for every prediction without one."""
        self.model_version = version
        self.update_predictions_version()

    def update_predictions_version(self) -> None:
        """Hand the response's version to every prediction that has none."""
        for item in self.predictions:
            for prediction in item if isinstance(item, list) else [item]:
                if not prediction.model_version:
                    prediction.model_version = self.model_version


def results_json(response: ModelResponse, tasks: Sequence[dict[str, Any]]) -> str:
    """Write the response as Label Studio reads it: ``{"results": [...]}``, one item per task.

    Each item is written on its own, so that one that can't be (a score that is not a number, say) becomes ``[]`` and a
    line in the log, while its neighbours are kept. Label Studio would otherwise lose them all.
    """
    items = [_item_json(item, task) for item, task in zip(response.predictions, tasks, strict=True)]
    return f'{{"results": [{", ".join(items)}]}}'


def _item_json(item: list[PredictionValue] | PredictionValue, task: dict[str, Any]) -> str:
    plain = [_prediction(each) for each in item] if isinstance(item, list) else _prediction(item)
    try:
        return json.dumps(plain, allow_nan=False, default=_plain_value)
    except (TypeError, ValueError):
        logger.exception("The prediction for task %s can't be written as JSON and is left out", task.get("id"))
        return "[]"


def _prediction(prediction: PredictionValue) -> dict[str, Any] | list[Any]:
    """Return the fields that Label Studio reads, without copying the regions: an RLE mask is a list of millions."""
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
    """Turn a number or an array of NumPy or torch into Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
