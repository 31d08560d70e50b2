"""The ML backend: what Label Studio asks, in the terms of the SDK."""

from __future__ import annotations

from typing import Any

from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse
from label_studio_sdk.label_interface.objects import PredictionValue

from yolo_backend.engine import get_engine
from yolo_backend.label_studio import LabelStudio


class YOLO(LabelStudioMLBase):
    """Pre-annotates the tasks of one project with the YOLO models that its labeling config names."""

    def setup(self) -> None:
        """Read the labeling config. Loads no model."""
        self.engine = get_engine()
        self.plan = self.engine.plan(self.label_config or "")

    @property
    def model_version(self) -> str:
        """The version of these weights with this labeling config; never that of another request's."""
        return self.engine.model_version(self.plan)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """Return one prediction per task, in order.

        A task that can't be predicted is an empty list: Label Studio leaves it unpredicted, and it can be tried again.
        In interactive mode (``context`` is given) it is a prediction without regions, as the editor needs one.
        """
        found = self.engine.predict(self.plan, tasks, self._label_studio())
        # After predicting, since that may have fetched the weights.
        version = self.model_version
        predictions: list[PredictionValue | list[PredictionValue]] = []
        for prediction in found:
            if prediction is not None:
                value = PredictionValue(result=prediction.regions, score=prediction.score, model_version=version)
                predictions.append(value)
            elif context is not None:
                predictions.append(PredictionValue(result=[], score=0.0, model_version=version))
            else:
                predictions.append([])
        return ModelResponse(predictions=predictions, model_version=version)

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Take notice of an event; this version doesn't learn from it."""
        return {}

    def _label_studio(self) -> LabelStudio:
        return LabelStudio.from_settings(
            self.engine.settings, hostname=self.get("hostname"), access_token=self.get("access_token")
        )
