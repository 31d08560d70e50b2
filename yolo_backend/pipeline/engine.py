"""One request: tasks and a labeling config in, predictions in the order of the tasks out."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_backend.controls import Control, ImageControl, VideoControl
from yolo_backend.errors import BackendError, ConfigError, MediaError, WeightsError
from yolo_backend.inference import Model, ModelStore, WeightsStore
from yolo_backend.inference.library import available_cores
from yolo_backend.inference.plot import save_plot
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.labeling_config import Source
from yolo_backend.label_studio.task_data import source_values
from yolo_backend.media import MediaLoader, Picture
from yolo_backend.media.video import Limits, read_ahead
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.lookahead import as_completed_ahead
from yolo_backend.pipeline.plan import Pass, Plan, listed, make_plan
from yolo_backend.pipeline.watching import observe
from yolo_backend.settings import Settings, get_settings
from yolo_backend.tasks import Prediction, Region, Task, task_keys, with_unique_ids

if TYPE_CHECKING:
    from yolo_backend.inference import Detections

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 1000  # labeling configs whose problems are kept

NumberedPass = tuple[int, Pass, Model]
Parts = list[tuple[int, int, list[Region]]]
"""Regions of a task, by the number of the pass and of the page that they are from."""


class Engine:
    """Everything that the requests of one process share: connections, models, plans. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.weights = WeightsStore(settings)
        self.models = ModelStore(settings, self.weights)
        self.media = MediaLoader(settings)
        # A picture has a thread from its address to its regions. As many as there are cores are worked on, and the others
        # are being fetched meanwhile, or wait; on a GPU more are worked on, so that they can go through it together.
        cores = available_cores()
        self._ahead = settings.fetch_threads + cores + settings.batch_size
        self._pictures = ThreadPool(self._ahead, thread_name_prefix="picture")
        # Who opens a task doesn't wait while the servers that a long batch needs are slow.
        self._few_pictures = ThreadPool(self._ahead, thread_name_prefix="few-pictures")
        self._videos = ThreadPool(cores, thread_name_prefix="video")
        self._cores = threading.BoundedSemaphore(cores)
        self._queue_for_gpu = threading.BoundedSemaphore(cores + settings.batch_size)
        self._active = 0  # calls of `compute`
        self._said: set[str] = set()
        self._problems: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._plan = lru_cache(maxsize=256)(make_plan)

    def plan(self, labeling_config: str) -> Plan:
        """Return the plan for a labeling config, made once; its problems are logged once."""
        plan = self._plan(labeling_config, self.settings)
        self._warn_once(plan.problems)
        for one in plan.passes:
            if self.weights.lacks(one.weights):
                self._warn_once([f"{_names(one.controls)}: the weights {one.weights} are not there (yet)"])
        return plan

    def model_version(self, plan: Plan) -> str:
        """Return the model version of a plan; no model is loaded for it."""
        return plan.model_version(self.weights)

    def lacks_weights(self, plan: Plan) -> bool:
        """Tell whether weights of a plan aren't there."""
        return any(self.weights.lacks(one.weights) for one in plan.passes)

    def fetch_weights(self, plan: Plan) -> None:
        """Fetch what weights of a plan aren't there and can be fetched."""
        for one in plan.passes:
            with suppress(WeightsError):
                self.weights.get(one.weights)

    def predict(self, plan: Plan, tasks: Sequence[Task], label_studio: LabelStudio) -> list[Prediction | None]:
        """Predict tasks here and now, and return one item per task, in order; None for one that failed."""
        predictions: list[Prediction | None] = [None] * len(tasks)
        keys = task_keys(tasks)
        for index, outcome in self.compute(plan, tasks, label_studio):
            if isinstance(outcome, Prediction):
                predictions[index] = with_unique_ids(outcome, keys[index])
        return predictions

    def compute(
        self, plan: Plan, tasks: Sequence[Task], label_studio: LabelStudio
    ) -> Iterator[tuple[int, Prediction | Exception]]:
        """Predict tasks, and yield each task's index and outcome as soon as its batch is through.

        A task that fails, whatever the reason, is an exception and one warning in the log; its neighbours are not touched.

        Args:
            plan: of the labeling config.
            tasks: as Label Studio sends them.
            label_studio: where their pictures are kept.
        """
        started = time.monotonic()
        passes, version, problems = self._prepared(plan)
        if not passes:
            nothing = _nothing(problems)
            logger.warning("Predicted 0 of %d tasks, %s", len(tasks), nothing)
            yield from ((index, nothing) for index in range(len(tasks)))
            return
        found: list[int] = []
        with self._counted():
            for index, regions in self._regions(passes, tasks, label_studio):
                outcome: Prediction | Exception
                if not isinstance(regions, Exception) and len(regions) > self.settings.max_regions:
                    regions = MediaError(
                        f"{len(regions)} regions, more than MAX_REGIONS allows ({self.settings.max_regions}): raise "
                        "model_score_threshold, or lower model_max_det"
                    )
                if isinstance(regions, Exception):
                    outcome = regions
                    # A BackendError says what is wrong in words; anything else is a fault that needs its traceback.
                    fault = None if isinstance(outcome, BackendError) else outcome
                    logger.warning("Task %.60r left out: %s", tasks[index].get("id"), outcome, exc_info=fault)
                else:
                    outcome = Prediction(regions=regions, model_version=version)
                    found.append(len(regions))
                yield index, outcome
        logger.log(
            logging.INFO if len(found) == len(tasks) else logging.WARNING,
            "Predicted %d of %d tasks: %d regions, %d tasks without any, %.1f s",
            len(found),
            len(tasks),
            sum(found),
            found.count(0),
            time.monotonic() - started,
        )

    def make_ready(self, plan: Plan) -> str:
        """Load the models of a plan, wait until they are in the runtime that they stay in, and return their version.

        Raises:
            ConfigError: nothing in the labeling config can be filled in.
        """
        passes, version, problems = self._prepared(plan)
        if not passes:
            raise _nothing(problems)
        self.models.settle()
        return version

    def problems(self, plan: Plan) -> list[str]:
        """Say in words what of a labeling config can't be filled in, as far as is known without loading a model."""
        return self._problems.get(self.model_version(plan), list(plan.problems))

    def warm_up(self, plan: Plan) -> None:
        """Load the models of a plan, so that the first prediction doesn't wait for them. Problems are logged alone."""
        passes, _, _ = self._prepared(plan)
        for one, model in passes:
            model.warm_up(**one.options)

    def _prepared(self, plan: Plan) -> tuple[list[tuple[Pass, Model]], str, list[str]]:
        """Return the passes of a plan with their models, the version of just these models, and all problems in words."""
        version = self.model_version(plan)
        while True:
            problems = list(plan.problems)
            passes = list(self._loaded(plan, problems))
            before, version = version, self.model_version(plan)
            if version == before:
                break
            # Weights were fetched, or replaced while others were loaded.
        with self._lock:
            self._problems[version] = problems
            while len(self._problems) > MAX_REMEMBERED:
                del self._problems[next(iter(self._problems))]
        return passes, version, problems

    def _loaded(self, plan: Plan, reasons: list[str]) -> Iterator[tuple[Pass, Model]]:
        """Yield the passes of a plan whose weights can be used, with their models; say in words why others can't."""
        for one in plan.passes:
            try:
                model = self.models.get(one.weights)
            except WeightsError as error:
                reasons.append(f"{_names(one.controls)} left out: {error}")
                logger.error("%s", reasons[-1])
                continue
            fitting: list[Control] = []
            waiting = list(one.controls)
            while waiting:
                control = waiting.pop(0)
                if wrong := misfit(control, one, model):
                    reasons.append(wrong)
                    self._warn_once([wrong])
                    waiting = [*control.held, *waiting]
                else:
                    fitting.append(control)
                    self._warn_once(control.problems_with(model.task, model.points))
                if model.task in control.yolo_tasks:
                    self._warn_once(listed(control.class_problems(model.names)))
            if fitting:
                yield Pass(**{**vars(one), "controls": tuple(fitting)}), model

    def _regions(
        self, passes: Sequence[tuple[Pass, Model]], tasks: Sequence[Task], label_studio: LabelStudio
    ) -> Iterator[tuple[int, list[Region] | Exception]]:
        """Yield the index of each task with its regions, or why it failed, as they are done."""
        groups: dict[tuple[str, Source], list[NumberedPass]] = defaultdict(list)
        for number, (one, model) in enumerate(passes):
            groups[one.object_tag, one.source].append((number, one, model))
        left: dict[int, int] = {}
        pictures = self._pictures if len(tasks) > self.settings.batch_size else self._few_pictures

        def begun() -> Iterator[tuple[int, Future[Parts]]]:
            for index, task in enumerate(tasks):
                futures: list[Callable[[], Future[Parts]]] = []
                try:
                    for (object_tag, source), group in groups.items():
                        values = source_values(task, source)
                        if len(values) > self.settings.max_pages:
                            raise MediaError(
                                f"{len(values)} pages, more than MAX_PAGES allows ({self.settings.max_pages})"
                            )
                        for page, value in enumerate(values):
                            if object_tag == VideoControl.object_tag:
                                work = partial(self._on_video, task, value, group, label_studio)
                                futures.append(partial(self._videos.submit, work))
                            else:
                                work = partial(
                                    self._on_picture, task, page, value, group, label_studio, len(tasks) == 1
                                )
                                futures.append(partial(pictures.submit, work))
                except MediaError as error:
                    futures = [partial(_failed, error)]
                left[index] = len(futures)
                yield from ((index, begin()) for begin in futures)

        parts: dict[int, Parts] = defaultdict(list)
        failures: dict[int, Exception] = {}
        for index, future in as_completed_ahead(begun(), window=self._ahead):
            left[index] -= 1
            try:
                parts[index] += future.result()
            except Exception as error:
                failures.setdefault(index, error)
            if not left[index]:
                del left[index]
                ordered = sorted(parts.pop(index, []), key=itemgetter(0, 1))
                regions = [region for _, _, some in ordered for region in some]
                yield index, failures.pop(index, regions)

    def _on_picture(
        self,
        task: Task,
        page: int,
        value: Any,
        passes: Sequence[NumberedPass],
        label_studio: LabelStudio,
        single: bool,
    ) -> Parts:
        """Fetch a picture, decode it, and run the passes over it."""
        file = self.media.fetch(value, task_id=task.get("id"), label_studio=label_studio)
        parts: Parts = []
        # What is fetched is small beside its pixels: only as many are decoded as can be worked on.
        with self._cores if all(model.device == "cpu" for _, _, model in passes) else self._queue_for_gpu:
            picture = self.media.decode(file, least_scale=partial(_least_scale, passes))
            del file
            for number, one, model in passes:
                (result,) = model.predict([picture.pixels], **one.options, alone=single and self._active == 1)
                regions = [
                    region
                    for control in one.controls
                    if isinstance(control, ImageControl)
                    for region in control.regions(result, picture)
                ]
                if self.settings.debug_plot:
                    self._plot(result, picture, f"task-{task.get('id')}-{page}-{Path(one.weights).stem}.jpg")
                parts.append((number, page, _on_page(regions, page) if one.source.pages else regions))
        return parts

    def _on_video(self, task: Task, value: Any, passes: Sequence[NumberedPass], label_studio: LabelStudio) -> Parts:
        """Fetch a video, and show it to all passes at once."""
        data = task.get("data") or {}
        watching = [
            (
                partial(model.predict, **one.options),
                [control.observer(model.names, data) for control in one.controls if isinstance(control, VideoControl)],
            )
            for _, one, model in passes
        ]
        settings = self.settings
        limits = Limits(
            megapixels=settings.max_image_megapixels,
            frames=settings.max_video_frames,
            rate=max(
                control.editor_frames(data).rate
                for _, one, _ in passes
                for control in one.controls
                if isinstance(control, VideoControl)
            ),
        )
        with self.media.video(value, limits, task_id=task.get("id"), label_studio=label_studio) as video:
            # Of large pictures fewer are in memory at a time.
            at_once = max(1, min(settings.batch_size, int(settings.max_image_megapixels * 1e6 / video.pixels)))
            with closing(read_ahead(video.frames(), at_once)) as ahead:
                return [(passes[0][0], 0, observe(ahead, watching, batch_size=at_once))]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1

    def _plot(self, result: Detections, picture: Picture, name: str) -> None:
        directory = self.settings.model_dir / "debug"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            save_plot(result, picture.pixels, directory / re.sub(r"[^\w.-]", "_", name))
        except OSError as error:
            self._warn_once([f"DEBUG_PLOT: {directory} can't be written: {error}"])

    def _warn_once(self, problems: Iterable[str]) -> None:
        for problem in problems:
            with self._lock:
                said = problem in self._said
                if len(self._said) >= 10_000:
                    self._said.clear()
                self._said.add(problem)
            if not said:
                logger.warning("%s", problem)


def _nothing(problems: Sequence[str]) -> ConfigError:
    return ConfigError(f"nothing in the labeling config can be filled in: {'; '.join(dict.fromkeys(problems))}")


def _names(controls: Iterable[Control]) -> str:
    return ", ".join(map(str, controls))


def _least_scale(passes: Sequence[NumberedPass], width: int, height: int) -> float:
    """Return how far a picture may be scaled down before any of the models gets to see less of it."""
    return max(
        model.least_scale(width, height, imgsz=one.imgsz, whole_image=one.whole_image, tiling=one.tiling)
        for _, one, model in passes
    )


def misfit(control: Control, one: Pass, model: Model) -> str | None:
    """Say in words why a model can't fill in a control, if it can't."""
    if model.task not in control.yolo_tasks:
        return (
            f"{control} left out: it needs weights for {' or '.join(control.yolo_tasks)}, and {one.weights} are for "
            f"{model.task}; name others in model_path, or use another tag"
        )
    if not control.labels:
        return f"{control} left out: it has no labels; give it one for each class that it is to show"
    if not control.wants_any(model.names):
        return f"{control} left out: none of its labels is a class of {one.weights}; map them with predicted_values"
    return None


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the engine of this process."""
    return Engine(get_settings())


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _on_page(regions: Iterable[Region], page: int) -> list[Region]:
    """Say which page of a ``valueList`` regions are on, counted from 0."""
    paged = [{**region, "item_index": page} for region in regions]
    for region in paged:
        for key in ("id", "parentID"):
            if key in region:
                region[key] = f"{region[key]}/{page}"
    return paged
