"""Who computes the predictions of a project: here, this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings
from yolo_backend.tasks import Prediction, Task


class Workers(Protocol):
    """Something that predicts tasks.

    Attributes:
        version: the model version of its predictions.
        lanes: calls of `compute` that keep it busy.
        chunk: tasks for one call.
    """

    version: str
    lanes: int
    chunk: int

    def compute(self, tasks: Sequence[Task]) -> Iterable[tuple[int, Prediction | Exception]]:
        """Give each task's index and outcome, as `Engine.compute`. Called from several threads."""


class LocalWorkers:
    """The engine of this process, as the service runs it."""

    # While one computes the other fetches.
    lanes = 2
    chunk = 64

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
