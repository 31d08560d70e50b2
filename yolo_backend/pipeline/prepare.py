"""A plan made ready to run: its models loaded, the version of just these models, and what can't be filled in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from cachetools import LRUCache

from yolo_backend.controls import Control
from yolo_backend.errors import ConfigError, WeightsError
from yolo_backend.inference import Model, ModelStore, WeightsStore
from yolo_backend.pipeline.plan import InferencePass, Plan, listed, make_plan
from yolo_backend.settings import Settings

logger = logging.getLogger(__name__)

MAX_PLANS = 256
MAX_REMEMBERED = 1000
"""Model versions whose problems are kept, and ten times as many messages that were logged once."""


@dataclass(frozen=True, kw_only=True)
class LoadedPass:
    """A pass of a plan with its model; `number` counts them in the order of the plan."""

    number: int
    step: InferencePass
    model: Model


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What can be run of a plan.

    Attributes:
        passes: those whose weights can be used, without the controls that these are no good for.
        version: the model version of just these models.
        problems: in words, all that can't be filled in and why.
    """

    passes: tuple[LoadedPass, ...]
    version: str
    problems: tuple[str, ...]

    def require(self) -> None:
        """Make sure that there is something to run.

        Raises:
            ConfigError: nothing in the labeling config can be filled in.
        """
        if not self.passes:
            raise ConfigError(
                f"nothing in the labeling config can be filled in: {'; '.join(dict.fromkeys(self.problems))}"
            )


class Preparer:
    """Makes plans, and makes them ready to run. Safe to use from several threads."""

    def __init__(self, settings: Settings, weights: WeightsStore, models: ModelStore) -> None:
        self._settings = settings
        self._weights = weights
        self._models = models
        self._plan = lru_cache(maxsize=MAX_PLANS)(make_plan)
        self._problems: LRUCache[str, tuple[str, ...]] = LRUCache(MAX_REMEMBERED)
        self._said: LRUCache[tuple[str | None, str | None, str], None] = LRUCache(10 * MAX_REMEMBERED)
        # What was said of how a model fits: looking for it takes seconds where there are thousands of labels.
        self._explained: LRUCache[tuple[str | None, str], None] = LRUCache(MAX_REMEMBERED)
        self._lock = threading.Lock()

    def plan(self, labeling_config: str, project: str | None = None) -> Plan:
        """Return the plan for a project's labeling config, made once; its problems are logged once for the project."""
        plan = self._plan(labeling_config, self._settings, project)
        lacking = [step for step in plan.passes if self._weights.lacks(step.model.weights)]
        self.warn_once(
            [*plan.problems, *(f"{step}: the weights {step.model} are not there (yet)" for step in lacking)], plan
        )
        return plan

    def model_version(self, plan: Plan) -> str:
        """Return the model version of a plan; no model is loaded for it."""
        return plan.model_version(self._weights)

    def lacks_weights(self, plan: Plan) -> bool:
        """Tell whether weights of a plan aren't there."""
        return any(self._weights.lacks(step.model.weights) for step in plan.passes)

    def fetch_weights(self, plan: Plan) -> None:
        """Fetch what weights of a plan aren't there and can be fetched."""
        for step in plan.passes:
            with suppress(WeightsError):
                self._weights.get(step.model.weights)

    def prepare(self, plan: Plan) -> Prepared:
        """Load the models of a plan."""
        version = self.model_version(plan)
        while True:
            problems = list(plan.problems)
            loaded = list(self._loaded(plan, version, problems))
            before, version = version, self.model_version(plan)
            if version == before:
                break
            # Weights were fetched, or replaced while others were loaded.
        passes = tuple(LoadedPass(number=number, step=step, model=model) for number, (step, model) in enumerate(loaded))
        prepared = Prepared(passes=passes, version=version, problems=tuple(problems))
        with self._lock:
            self._problems[version] = prepared.problems
            self._explained[plan.project, version] = None
        return prepared

    def settle(self, plan: Plan) -> str:
        """Load the models of a plan, wait until they are in the runtime that they stay in, and return their version.

        Raises:
            ConfigError: nothing in the labeling config can be filled in.
        """
        prepared = self.prepare(plan)
        prepared.require()
        self._models.settle()
        return prepared.version

    def warm_up(self, plan: Plan) -> None:
        """Load the models of a plan, so that the first prediction doesn't wait for them. Problems are only logged."""
        for loaded in self.prepare(plan).passes:
            loaded.model.warm_up(loaded.step.options)

    def problems(self, plan: Plan) -> list[str]:
        """Say in words what of a labeling config can't be filled in, as far as is known without loading a model."""
        version = self.model_version(plan)
        with self._lock:
            return list(self._problems.get(version, plan.problems))

    def warn_once(self, problems: Collection[str], plan: Plan | None = None) -> None:
        """Log problems that weren't logged yet, or not yet for this project and version of a plan."""
        if not problems:
            return
        project, version = (plan.project, self.model_version(plan)) if plan else (None, None)
        for problem in problems:
            with self._lock:
                key = (project, version, problem)
                said = key in self._said
                self._said[key] = None
            if not said:
                logger.warning("%s%s", f"Project {project:.60}: " if project else "", problem)

    def _loaded(self, plan: Plan, version: str, reasons: list[str]) -> Iterator[tuple[InferencePass, Model]]:
        """Yield the passes of a plan whose weights can be used, with their models; say in words why others can't."""
        with self._lock:
            is_explained = (plan.project, version) in self._explained
        for step in plan.passes:
            try:
                model = self._models.get(step.model)
            except WeightsError as error:
                reasons.append(f"{step} left out: {error}")
                logger.error("%s", reasons[-1])
                continue
            fitting: list[Control] = []
            waiting = list(step.controls)
            while waiting:
                control = waiting.pop(0)
                if wrong := incompatibility(control, step, model):
                    reasons.append(wrong)
                    self.warn_once([wrong], plan)
                    waiting = [*(held for held in control.companion_controls if not held.model_skip), *waiting]
                else:
                    fitting.append(control)
                    if not is_explained:
                        self.warn_once(listed(control.problems_with(model.task, model.keypoint_count)), plan)
                if model.task in control.yolo_tasks and not is_explained:
                    self.warn_once(listed(control.class_problems(model.names)), plan)
            if fitting:
                yield step.for_controls(fitting), model


def incompatibility(control: Control, step: InferencePass, model: Model) -> str | None:
    """Say in words why a model can't fill in a control, if it can't."""
    if model.task not in control.yolo_tasks:
        return (
            f"{control} left out: it needs weights for {' or '.join(control.yolo_tasks)}, and {step.model} are for "
            f"{model.task}; name others in model_path, or use another tag"
        )
    if not control.labels:
        return f"{control} left out: it has no labels; give it one for each class that it is to show"
    if not control.wants_any(model.names):
        return f"{control} left out: none of its labels is a class of {step.model}; map them with predicted_values"
    return None


def least_scale(passes: Sequence[LoadedPass], width: int, height: int) -> float:
    """Return how far a picture may be scaled down before any of the models gets to see less of it."""
    return max(loaded.model.least_scale(width, height, loaded.step.options) for loaded in passes)
