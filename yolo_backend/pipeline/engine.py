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
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_backend.controls import ImageControl, VideoControl
from yolo_backend.errors import BackendError, ConfigError, MediaError
from yolo_backend.inference import ModelStore, WeightsStore
from yolo_backend.inference.library import available_cores
from yolo_backend.inference.plot import save_plot
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.labeling_config import Source
from yolo_backend.label_studio.task_data import source_values
from yolo_backend.media import MediaLoader, Picture
from yolo_backend.media.video import read_ahead, read_frames
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.lookahead import as_completed_ahead
from yolo_backend.pipeline.plan import Plan
from yolo_backend.pipeline.prepare import LoadedPass, Preparer, least_scale
from yolo_backend.pipeline.video import observe
from yolo_backend.settings import Settings, get_settings
from yolo_backend.tasks import Prediction, Region, Task, on_page, task_keys, with_unique_ids

if TYPE_CHECKING:
    from yolo_backend.inference import Detections

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MediaItem:
    """One picture or video of a task, and the passes that look at it.

    Attributes:
        task: as Label Studio sends it.
        page: its number in a ``valueList``, from 0.
        value: what the task's data says of it.
        passes: all of one object tag.
        label_studio: where it is kept.
    """

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

    def plan(self, labeling_config: str) -> Plan:
        """Return the plan for a labeling config, made once; its problems are logged once."""
        return self.preparer.plan(labeling_config)

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
            for index, regions in self._regions(prepared.passes, tasks, label_studio):
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
                    outcome = Prediction(regions=regions, model_version=prepared.version)
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

    def _regions(
        self, passes: Sequence[LoadedPass], tasks: Sequence[Task], label_studio: LabelStudio
    ) -> Iterator[tuple[int, list[Region] | Exception]]:
        """Yield the index of each task with its regions, or why it failed, as they are done."""
        left: dict[int, int] = {}
        pictures = self._pictures if len(tasks) > self.settings.batch_size else self._few_pictures
        on_picture = partial(self._on_picture, single=len(tasks) == 1)

        def begun() -> Iterator[tuple[int, Future[list[PageRegions]]]]:
            for index, task in enumerate(tasks):
                try:
                    items = list(self._items(task, passes, label_studio))
                except MediaError as error:
                    left[index] = 1
                    yield index, _failed(error)
                    continue
                left[index] = len(items)
                for item in items:
                    if item.passes[0].step.object_tag == VideoControl.object_tag:
                        yield index, self._videos.submit(self._on_video, item)
                    else:
                        yield index, pictures.submit(on_picture, item)

        found: dict[int, list[PageRegions]] = defaultdict(list)
        failures: dict[int, Exception] = {}
        for index, future in as_completed_ahead(begun(), window=self._ahead):
            left[index] -= 1
            try:
                found[index] += future.result()
            except Exception as error:
                failures.setdefault(index, error)
            if not left[index]:
                del left[index]
                ordered = sorted(found.pop(index, []), key=attrgetter("pass_number", "page"))
                yield index, failures.pop(index, [region for page in ordered for region in page.regions])

    def _items(self, task: Task, passes: Sequence[LoadedPass], label_studio: LabelStudio) -> Iterator[MediaItem]:
        """Yield the pictures and videos of a task.

        Raises:
            MediaError: the task's data doesn't have them, or too many.
        """
        groups: dict[tuple[str, Source], list[LoadedPass]] = defaultdict(list)
        for loaded in passes:
            groups[loaded.step.object_tag, loaded.step.source].append(loaded)
        for (_, source), group in groups.items():
            values = source_values(task, source)
            if len(values) > self.settings.max_pages:
                raise MediaError(f"{len(values)} pages, more than MAX_PAGES allows ({self.settings.max_pages})")
            for page, value in enumerate(values):
                yield MediaItem(task=task, page=page, value=value, passes=group, label_studio=label_studio)

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
        with self.media.local_file(item.value, task_id=item.task.get("id"), label_studio=item.label_studio) as path:
            frames = read_frames(
                path, max_megapixels=settings.max_image_megapixels, max_frames=settings.max_video_frames
            )
            with closing(read_ahead(frames, settings.batch_size)) as ahead:
                regions = observe(ahead, watching, batch_size=settings.batch_size)
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
            directory.mkdir(parents=True, exist_ok=True)
            save_plot(result, picture.pixels, directory / re.sub(r"[^\w.-]", "_", name))
        except OSError as error:
            self.preparer.warn_once([f"DEBUG_PLOT: {directory} can't be written: {error}"])


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the engine of this process."""
    return Engine(get_settings())


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
