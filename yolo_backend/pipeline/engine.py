"""One request: tasks and a labeling config in, predictions in the order of the tasks out."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_backend.controls import ImageControl, VideoControl
from yolo_backend.errors import AbsentMediaError, BackendError, ConfigError, MediaError
from yolo_backend.inference import ModelStore, WeightsStore
from yolo_backend.inference.library import available_cores
from yolo_backend.inference.plot import save_plot
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.task_data import Source, source_values
from yolo_backend.media import MediaLoader, Picture
from yolo_backend.media.video import Limits, read_ahead
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.lookahead import as_completed_ahead
from yolo_backend.pipeline.plan import Plan
from yolo_backend.pipeline.prepare import LoadedPass, Preparer, least_scale
from yolo_backend.pipeline.video import observe
from yolo_backend.private_files import make_directory
from yolo_backend.settings import Settings, get_settings
from yolo_backend.tasks import PARTIAL, Prediction, Region, Task, on_page, task_keys, with_unique_ids

if TYPE_CHECKING:
    from yolo_backend.inference import Detections

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MediaItem:
    """One picture or video of a task, and the passes that look at it.

    Attributes:
        name: what messages call it, such as ``page 2 of $pages``.
        task: as Label Studio sends it.
        page: its number in a ``valueList``, from 0.
        value: what the task's data says of it.
        passes: all of one object tag.
        label_studio: where it is kept.
    """

    name: str
    task: Task
    page: int
    value: Any
    passes: Sequence[LoadedPass]
    label_studio: LabelStudio


@dataclass(frozen=True, kw_only=True)
class PageRegions:
    """The regions that one pass found on one page of a task."""

    pass_number: int
    page: int
    regions: list[Region]


@dataclass(frozen=True, kw_only=True)
class FailedPart:
    """A part of a task that can't be looked at, and why."""

    name: str
    error: Exception


@dataclass(kw_only=True)
class TaskResult:
    """What was found on the parts of a task, in the order of the passes and pages, and why parts failed, by their names."""

    found: list[PageRegions] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)


class Engine:
    """Everything that the requests of one process share: connections, models, plans. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.weights = WeightsStore(settings)
        self.models = ModelStore(settings, self.weights)
        self.media = MediaLoader(settings)
        # Each picture has a thread from its address to its regions. One per core is decoded and predicted, the rest are
        # fetched meanwhile or wait; a GPU gets more at once, so that they can be batched.
        cores = available_cores()
        self._ahead = settings.fetch_threads + cores + settings.batch_size
        self._pictures = ThreadPool(self._ahead, thread_name_prefix="picture")
        # A second pool, so that opening a task isn't held up by a long batch on slow servers.
        self._few_pictures = ThreadPool(self._ahead, thread_name_prefix="few-pictures")
        self._videos = ThreadPool(cores, thread_name_prefix="video")
        self._cores = threading.BoundedSemaphore(cores)
        self._queue_for_gpu = threading.BoundedSemaphore(cores + settings.batch_size)
        self._active = 0  # calls of `compute`
        self._lock = threading.Lock()
        self.preparer = Preparer(settings, self.weights, self.models)

    def plan(self, labeling_config: str, project: str | None = None) -> Plan:
        """Return the plan for a labeling config, made once; its problems are logged once."""
        return self.preparer.plan(labeling_config, project)

    def model_version(self, plan: Plan) -> str:
        """Return the model version of a plan; no model is loaded for it."""
        return self.preparer.model_version(plan)

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
        prepared = self.preparer.prepare(plan)
        try:
            prepared.require()
        except ConfigError as error:
            logger.warning("Predicted 0 of %d tasks, %s", len(tasks), error)
            yield from ((index, error) for index in range(len(tasks)))
            return
        found: list[int] = []
        with self._counted():
            for index, result in self._results(prepared.passes, tasks, label_studio):
                outcome = self._outcome(tasks[index], result, prepared.version)
                if isinstance(outcome, Prediction):
                    found.append(len(outcome.regions))
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

    def _outcome(self, task: Task, result: TaskResult, version: str) -> Prediction | Exception:
        """Make a prediction of what was found on the parts of a task, and log what failed."""
        failures = result.failures
        regions = [region for page in result.found for region in page.regions]
        failure = None if result.found else next(iter(failures.values()))
        if len(regions) > self.settings.max_regions:
            failure = MediaError(
                f"{len(regions)} regions, more than MAX_REGIONS allows ({self.settings.max_regions}): raise "
                "model_score_threshold, or lower model_max_det"
            )
        if failure is not None:
            logger.warning("Task %.60r left out: %s", task.get("id"), failure, exc_info=_fault(failure))
            return failure
        for name, error in failures.items():
            logger.warning("Task %.60r: %s left out: %s", task.get("id"), name, error, exc_info=_fault(error))
        # What isn't there can't come later.
        is_complete = all(isinstance(error, AbsentMediaError) for error in failures.values())
        version = version if is_complete else version + PARTIAL
        return Prediction(regions=regions, model_version=version, is_complete=is_complete)

    def _results(
        self, passes: Sequence[LoadedPass], tasks: Sequence[Task], label_studio: LabelStudio
    ) -> Iterator[tuple[int, TaskResult]]:
        """Yield the index of each task with what was found on its parts, as they are done."""
        left: dict[int, int] = {}
        pictures = self._pictures if len(tasks) > self.settings.batch_size else self._few_pictures
        on_picture = partial(self._on_picture, single=len(tasks) == 1)

        def begun() -> Iterator[tuple[tuple[int, str], Future[list[PageRegions]]]]:
            for index, task in enumerate(tasks):
                parts = list(self._parts(task, passes, label_studio))
                left[index] = len(parts)
                for part in parts:
                    if isinstance(part, FailedPart):
                        yield (index, part.name), _failed(part.error)
                    elif part.passes[0].step.object_tag == VideoControl.object_tag:
                        yield (index, part.name), self._videos.submit(self._on_video, part)
                    else:
                        yield (index, part.name), pictures.submit(on_picture, part)

        results: dict[int, TaskResult] = defaultdict(TaskResult)
        for (index, name), future in as_completed_ahead(begun(), window=self._ahead):
            left[index] -= 1
            try:
                results[index].found += future.result()
            except Exception as error:
                results[index].failures[name] = error
            if not left[index]:
                del left[index]
                result = results.pop(index)
                result.found.sort(key=attrgetter("pass_number", "page"))
                yield index, result

    def _parts(
        self, task: Task, passes: Sequence[LoadedPass], label_studio: LabelStudio
    ) -> Iterator[MediaItem | FailedPart]:
        """Yield the pictures and videos of a task, each by itself: what is wrong with one is not the others' failure."""
        groups: dict[tuple[str, Source], list[LoadedPass]] = defaultdict(list)
        for loaded in passes:
            groups[loaded.step.object_tag, loaded.step.source].append(loaded)
        for (_, source), group in groups.items():
            try:
                values = source_values(task, source)
                if len(values) > self.settings.max_pages:
                    raise MediaError(f"{len(values)} pages, more than MAX_PAGES allows ({self.settings.max_pages})")
            except MediaError as error:
                yield FailedPart(name=source.value, error=error)
                continue
            for page, value in enumerate(values):
                name = f"page {page + 1} of {source.value}" if source.pages else source.value
                if value is None or value == "":
                    yield FailedPart(name=name, error=AbsentMediaError(f"the task's data has nothing in {name}"))
                else:
                    yield MediaItem(
                        name=name, task=task, page=page, value=value, passes=group, label_studio=label_studio
                    )

    def _on_picture(self, item: MediaItem, *, single: bool) -> list[PageRegions]:
        """Fetch a picture, decode it, and run the passes over it."""
        file = self.media.fetch(item.value, task_id=item.task.get("id"), label_studio=item.label_studio)
        found: list[PageRegions] = []
        # What is fetched is small beside its pixels: only as many are decoded as can be worked on.
        on_cpu = all(loaded.model.device == "cpu" for loaded in item.passes)
        with self._cores if on_cpu else self._queue_for_gpu:
            picture = self.media.decode(file, least_scale=partial(least_scale, item.passes))
            del file
            for loaded in item.passes:
                step = loaded.step
                alone = single and self._active == 1
                (result,) = loaded.model.predict([picture.pixels], step.options, alone=alone)
                regions = [
                    region
                    for control in step.controls
                    if isinstance(control, ImageControl)
                    for region in control.regions(result, picture)
                ]
                if self.settings.debug_plot:
                    stem = Path(step.model.weights).stem
                    self._plot(result, picture, f"task-{item.task.get('id')}-{item.page}-{stem}.jpg")
                if step.source.pages:
                    regions = on_page(regions, item.page)
                found.append(PageRegions(pass_number=loaded.number, page=item.page, regions=regions))
        return found

    def _on_video(self, item: MediaItem) -> list[PageRegions]:
        """Fetch a video, and show it to all passes at once."""
        data = item.task.get("data") or {}
        watching = [
            (
                partial(loaded.model.predict, options=loaded.step.options),
                [
                    control.observer(loaded.model.names, data)
                    for control in loaded.step.controls
                    if isinstance(control, VideoControl)
                ],
            )
            for loaded in item.passes
        ]
        settings = self.settings
        limits = Limits(
            megapixels=settings.max_image_megapixels,
            frames=settings.max_video_frames,
            rate=max(
                control.editor_frames(data).rate
                for loaded in item.passes
                for control in loaded.step.controls
                if isinstance(control, VideoControl)
            ),
        )
        with self.media.video(item.value, limits, task_id=item.task.get("id"), label_studio=item.label_studio) as video:
            # Of large pictures fewer are in memory at a time.
            at_once = max(1, min(settings.batch_size, int(settings.max_image_megapixels * 1e6 / video.pixels)))
            with closing(read_ahead(video.frames(), at_once)) as ahead:
                regions = observe(ahead, watching, batch_size=at_once)
        return [PageRegions(pass_number=item.passes[0].number, page=0, regions=regions)]

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
            make_directory(directory)
            save_plot(result, picture.pixels, directory / re.sub(r"[^\w.-]", "_", name))
        except OSError as error:
            self.preparer.warn_once([f"DEBUG_PLOT: {directory} can't be written: {error}"])


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the engine of this process."""
    return Engine(get_settings())


def _fault(error: Exception) -> Exception | None:
    """Return what needs its traceback in the log: a BackendError says what is wrong in words, anything else is a fault."""
    return None if isinstance(error, BackendError) else error


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
