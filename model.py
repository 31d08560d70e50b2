"""The ML backend: what Label Studio asks, in the terms of the SDK."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from label_studio_ml.cache import Cache, shared_cache
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse
from label_studio_sdk.label_interface.objects import PredictionValue

from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.interactive import region_under_prompt
from yolo_backend.pipeline.plan import Plan
from yolo_backend.serving.context import current_request
from yolo_backend.serving.dispatcher import get_dispatcher

logger = logging.getLogger(__name__)


class YOLO(LabelStudioMLBase):
    """Pre-annotates the tasks of one project with the YOLO models that its labeling config names."""

    def setup(self) -> None:
        """Know what all requests share. Loads no model."""
        self.dispatcher = get_dispatcher()
        self.engine = self.dispatcher.engine

    @property
    def cache(self) -> Cache:
        """What Label Studio said about each project, under the setting MODEL_DIR."""
        return shared_cache(self.engine.settings.model_dir)

    @cached_property
    def plan(self) -> Plan:
        """What is to be done for the labeling config."""
        # /versions asks without a project.
        if not self.label_config:
            return Plan(controls=(), passes=(), problems=())
        return self.engine.plan(self.label_config, self.project_id or None)

    def use_label_config(self, label_config: str) -> None:
        """Take the project's labeling config, and load the models that it needs in the background."""
        super().use_label_config(label_config)
        self.plan = self.engine.plan(label_config, self.project_id or None)
        self.dispatcher.projects.notice(self.project_id, self.plan)
        self.dispatcher.projects.warm_up(self.plan)

    @property
    def model_version(self) -> str:
        """The version of these weights with this labeling config; never that of another request's."""
        return self.engine.model_version(self.plan)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """Return one prediction per task, in order.

        A task without one is an empty list: Label Studio leaves it alone, and it can be tried again. In interactive mode
        (``context`` is given) the editor needs a prediction always; it has the region under the newest prompt, or none.
        """
        if context is not None and not context.get("result"):
            # What the editor asks once more after Submit.
            predictions: list[Any] = [self._prediction([], 0.0, self.model_version) for _ in tasks]
            return ModelResponse(predictions=predictions, model_version=self.model_version)
        request = current_request(self.project_id, interactive=context is not None)
        limit = self.engine.settings.max_tasks
        if len(tasks) > limit:
            logger.warning("%d tasks in one request, MAX_TASKS allows %d: the others are left", len(tasks), limit)
        answers = self.dispatcher.predict(self.plan, tasks[:limit], self._label_studio(), request)
        answers += [None] * (len(tasks) - len(answers))
        # After predicting, since that may have fetched the weights.
        version = self.model_version
        predictions = []
        for prediction in answers:
            if prediction is None:
                predictions.append([] if context is None else self._prediction([], 0.0, version))
                continue
            regions = prediction.regions
            if context is not None:
                drawn = context["result"]
                regions = region_under_prompt(regions, drawn if isinstance(drawn, list) else [])
            predictions.append(self._prediction(regions, prediction.score, prediction.model_version))
        return ModelResponse(predictions=predictions, model_version=version)

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Take notice of an event; this version doesn't learn from it."""
        if event == "START_TRAINING":
            logger.info(
                "Project %s: Start Training was pressed, which changes nothing: no training is set up", self.project_id
            )
        return {}

    def on_untrusted_event(self, event: str) -> None:
        """Take the labeling config of a project that was changed, so that its models are loaded before they are needed."""
        if event != "PROJECT_UPDATED" or not (self.project_id.isascii() and self.project_id.isdecimal()):
            return
        try:
            status, project = self._label_studio().call("GET", f"/api/projects/{self.project_id}/")
        except MediaError as error:
            logger.warning("Project %s has changed, but can't be looked at: %s", self.project_id, error)
            return
        config = project.get("label_config") if status == 200 and isinstance(project, dict) else None
        if isinstance(config, str) and config != self.label_config:
            self.use_label_config(config)

    @staticmethod
    def _prediction(regions: list[dict[str, Any]], score: float, version: str) -> PredictionValue:
        return PredictionValue(result=regions, score=score, model_version=version)

    def _label_studio(self) -> LabelStudio:
        hostname, access_token = self.setup_credentials()
        return LabelStudio.from_settings(self.engine.settings, hostname=hostname, access_token=access_token)
