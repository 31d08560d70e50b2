"""Workers that compute the predictions of a project; here those of this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings
from yolo_backend.tasks import Prediction, Task


class Workers(Protocol):
    """Predict tasks.

    Attributes:
        version: The model version of the predictions.
        max_concurrency: The number of simultaneous calls of `compute` that keep them busy.
        batch_size: Tasks for one call.
    """

    version: str
    max_concurrency: int
    batch_size: int

    def compute(self, tasks: Sequence[Task]) -> Iterable[tuple[int, Prediction | Exception]]:
        """Return each task's index and outcome, as `Engine.compute`. Called from several threads."""


class LocalWorkers:
    """The engine of this process, as the service runs it."""

    # While one call computes the other fetches.
    max_concurrency = 2
    batch_size = 64

    def __init__(self, settings: Settings, labeling_config: str) -> None:
        """Load the models that a labeling config needs.

        Raises:
            ConfigError: nothing in it can be filled in.
        """
        self._engine = Engine(settings)
        self._plan = self._engine.plan(labeling_config)
        self.version = self._engine.preparer.settle(self._plan)
        self._label_studio = LabelStudio.from_settings(settings)

    def compute(self, tasks: Sequence[Task]) -> Iterable[tuple[int, Prediction | Exception]]:
        """See `Workers`."""
        return self._engine.compute(self._plan, tasks, self._label_studio)
