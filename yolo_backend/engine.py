"""One request: tasks and a labeling config in, predictions in the order of the tasks out."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yolo_backend.controls import Control, ImageControl, Region, VideoControl
from yolo_backend.errors import BackendError, ConfigError, MediaError, WeightsError
from yolo_backend.inference import MISSING, Model, ModelStore, WeightsStore
from yolo_backend.inference.plot import save_plot
from yolo_backend.label_studio import LabelStudio
from yolo_backend.labeling_config import Source
from yolo_backend.media import MediaLoader, Picture
from yolo_backend.plan import Pass, Plan, make_plan
from yolo_backend.settings import Settings, get_settings
from yolo_backend.video.frames import read_ahead, read_frames
from yolo_backend.video.observe import observe

if TYPE_CHECKING:
    from yolo_backend.inference import Detections

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 1000  # labeling configs whose problems are kept

Task = Mapping[str, Any]
Item = TypeVar("Item")
Made = TypeVar("Made")
Key = TypeVar("Key")
Pictures = dict[Source, list[Picture]]
"""The pictures of one task, by where in its data they are."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model found on one task.

    Attributes:
        regions: their ids are unique within the task; see ``with_unique_ids``.
        model_version: of the weights that were really used.
    """

    regions: list[Region]
    model_version: str

    @property
    def score(self) -> float:
        """The mean score of the regions, from 0 to 1; 0 where there are none."""
        scores = [region["score"] for region in self.regions]
        return round(sum(scores) / len(scores), 4) if scores else 0.0


class Engine:
    """Everything that the requests of one process share: connections, models, plans. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.weights = WeightsStore(settings)
        self.models = ModelStore(settings, self.weights)
        self.media = MediaLoader(settings)
        self._fetchers = ThreadPoolExecutor(settings.fetch_threads, thread_name_prefix="fetch")
        self._said: set[str] = set()
        self._problems: dict[str, list[str]] = {}
        self._said_lock = threading.Lock()
        self._plan = lru_cache(maxsize=256)(make_plan)

    def plan(self, labeling_config: str) -> Plan:
        """Return the plan for a labeling config, made once; its problems are logged once."""
        plan = self._plan(labeling_config, self.settings)
        self._warn_once(plan.problems)
        for one in plan.passes:
            if self.weights.digest(one.weights) == MISSING:
                self._warn_once([f"{_names(one.controls)}: the weights {one.weights} are not there (yet)"])
        return plan

    def model_version(self, plan: Plan) -> str:
        """Return the model version of a plan; no model is loaded for it."""
        return plan.model_version(self.weights)

    def lacks_weights(self, plan: Plan) -> bool:
        """Tell whether weights of a plan aren't there."""
        return any(self.weights.digest(one.weights) == MISSING for one in plan.passes)

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
            why = "; ".join(dict.fromkeys(problems))
            logger.warning(
                "Predicted 0 of %d tasks, nothing in the labeling config can be filled in: %s", len(tasks), why
            )
            nothing = ConfigError(f"nothing in the labeling config can be filled in: {why}")
            yield from ((index, nothing) for index in range(len(tasks)))
            return
        size = self.settings.batch_size

        videos = [(one, model) for one, model in passes if one.object_tag == VideoControl.object_tag]
        passes = [(one, model) for one, model in passes if one.object_tag == ImageControl.object_tag]
        sources = list(dict.fromkeys(one.source for one, _ in passes))
        scales = {
            source: partial(_least_scale, [(one, model) for one, model in passes if one.source == source])
            for source in sources
        }

        def pictures(task: Task) -> Pictures:
            return {source: self._pictures(task, source, label_studio, scales[source]) for source in sources}

        found: list[int] = []
        # Fetched ahead of the model, so that it doesn't wait for the network if that can keep up; a picture that is long
        # in coming doesn't hold up the others.
        for ready in map_ahead(self._fetchers, pictures, tasks, window=2 * size, most=size):
            batch: dict[int, Pictures] = {}
            outcomes: dict[int, Prediction | Exception] = {}
            for index, future in ready:
                try:
                    batch[index] = future.result()
                except Exception as error:
                    outcomes[index] = error
            for index, regions in self._regions(passes, batch, tasks).items():
                try:
                    if isinstance(regions, Exception):
                        raise regions
                    regions += self._video_regions(videos, tasks[index], label_studio)
                    outcomes[index] = Prediction(regions=regions, model_version=version)
                    found.append(len(regions))
                except Exception as error:
                    outcomes[index] = error
            for index, outcome in outcomes.items():
                if isinstance(outcome, Exception):
                    # A BackendError says what is wrong in words; anything else is a fault that needs its traceback.
                    fault = None if isinstance(outcome, BackendError) else outcome
                    logger.warning("Task %.60r left out: %s", tasks[index].get("id"), outcome, exc_info=fault)
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
        with self._said_lock:
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
                if misfit := _misfit(control, one, model):
                    reasons.append(misfit)
                    self._warn_once([misfit])
                    waiting = [*control.held, *waiting]
                else:
                    fitting.append(control)
                    self._warn_once(control.problems_with(model.task, model.points))
                if model.task in control.yolo_tasks:
                    self._warn_once(control.class_problems(model.names))
            if fitting:
                yield Pass(**{**vars(one), "controls": tuple(fitting)}), model

    def _pictures(
        self, task: Task, source: Source, label_studio: LabelStudio, least_scale: Callable[[int, int], float]
    ) -> list[Picture]:
        """Fetch and decode what an object tag shows for a task: one picture, or one for each page."""
        value = task_value(task, source.value)
        if source.pages and not isinstance(value, list):
            raise MediaError(f"the task's data {source.value[1:]!r} is not a list, which valueList shows")
        if source.pages and not value:
            raise MediaError(f"the task's data {source.value[1:]!r} is an empty list")
        pages = value if source.pages else [value]
        return [
            self.media.picture(page, task_id=task.get("id"), label_studio=label_studio, least_scale=least_scale)
            for page in pages
        ]

    def _regions(
        self, passes: Sequence[tuple[Pass, Model]], batch: Mapping[int, Pictures], tasks: Sequence[Task]
    ) -> dict[int, list[Region] | Exception]:
        """Run all passes over a batch of tasks; for a task that fails in any of them, why."""
        regions: dict[int, list[Region] | Exception] = {index: [] for index in batch}
        for one, model in passes:
            pictures = {
                (index, page): picture
                for index, so_far in regions.items()
                if not isinstance(so_far, Exception)
                for page, picture in enumerate(batch[index][one.source])
            }
            for (index, page), outcome in run(model, one, pictures).items():
                so_far = regions[index]
                if isinstance(so_far, Exception):
                    continue
                try:
                    if isinstance(outcome, Exception):
                        raise outcome
                    found = [
                        region
                        for control in one.controls
                        if isinstance(control, ImageControl)
                        for region in control.regions(outcome, pictures[index, page])
                    ]
                    if self.settings.debug_plot:
                        name = f"task-{tasks[index].get('id')}-{page}-{Path(one.weights).stem}.jpg"
                        self._plot(outcome, pictures[index, page], name)
                except Exception as error:
                    regions[index] = error
                else:
                    so_far += _on_page(found, page) if one.source.pages else found
        return regions

    def _video_regions(
        self, passes: Sequence[tuple[Pass, Model]], task: Task, label_studio: LabelStudio
    ) -> list[Region]:
        """Run all passes over the videos of a task, each video once."""
        regions: list[Region] = []
        data = task.get("data") or {}
        for source in dict.fromkeys(one.source for one, _ in passes):
            watching = [
                (
                    partial(model.predict, **one.options),
                    [c.observer(model.names, data) for c in one.controls if isinstance(c, VideoControl)],
                )
                for one, model in passes
                if one.source == source
            ]
            value = task_value(task, source.value)
            with self.media.local_file(value, task_id=task.get("id"), label_studio=label_studio) as path:
                settings = self.settings
                frames = read_frames(
                    path, max_megapixels=settings.max_image_megapixels, max_frames=settings.max_video_frames
                )
                with closing(read_ahead(frames, self.settings.batch_size)) as ahead:
                    regions += observe(ahead, watching, batch_size=self.settings.batch_size)
        return regions

    def _plot(self, result: Detections, picture: Picture, name: str) -> None:
        directory = self.settings.model_dir / "debug"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            save_plot(result, picture.pixels, directory / re.sub(r"[^\w.-]", "_", name))
        except OSError as error:
            self._warn_once([f"DEBUG_PLOT: {directory} can't be written: {error}"])

    def _warn_once(self, problems: Iterable[str]) -> None:
        for problem in problems:
            with self._said_lock:
                said = problem in self._said
                if len(self._said) >= 10_000:
                    self._said.clear()
                self._said.add(problem)
            if not said:
                logger.warning("%s", problem)


def _names(controls: Iterable[Control]) -> str:
    return ", ".join(map(str, controls))


def _least_scale(passes: Sequence[tuple[Pass, Model]], width: int, height: int) -> float:
    """Return how far a picture may be scaled down before any of the models gets to see less of it."""
    return max(
        model.least_scale(width, height, imgsz=one.imgsz, whole_image=one.whole_image, tiling=one.tiling)
        for one, model in passes
    )


def _misfit(control: Control, one: Pass, model: Model) -> str | None:
    """Say in words why a model can't fill in a control, if it can't."""
    if model.task not in control.yolo_tasks:
        return (
            f"{control} left out: it needs weights for {' or '.join(control.yolo_tasks)}, and {one.weights} are for "
            f"{model.task}; name others in model_path, or use another tag"
        )
    if not control.wants_any(model.names):
        return f"{control} left out: none of its labels is a class of {one.weights}; map them with predicted_values"
    return None


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return the engine of this process."""
    return Engine(get_settings())


def task_value(task: Task, value: str) -> Any:
    """Return what an object tag shows for a task.

    Args:
        task: as Label Studio sends it.
        value: the tag's ``value``: ``$key`` of the task's data (``$a.b`` for nested data), else the data itself.

    Raises:
        MediaError: the task's data has no such key.
    """
    if not value.startswith("$"):
        return value
    data = task.get("data")
    key = value[1:]
    if isinstance(data, Mapping) and key in data:
        return data[key]
    for step in key.split("."):
        if not isinstance(data, Mapping) or step not in data:
            raise MediaError(f"the task's data has no {key!r}, which the labeling config shows")
        data = data[step]
    return data


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Made], items: Sequence[Item], *, window: int, most: int
) -> Iterator[list[tuple[int, Future[Made]]]]:
    """Yield the index and the finished future of ``function(item)`` for each item, as they come.

    Args:
        pool: what runs the function.
        function: called once for each item.
        items: taken in their order.
        window: how many are under way, or finished and not yet yielded.
        most: how many are yielded together.
    """
    waiting: dict[Future[Made], int] = {}
    left = deque(enumerate(items))
    try:
        while left or waiting:
            while left and len(waiting) < window:
                index, item = left.popleft()
                waiting[pool.submit(function, item)] = index
            done = sorted(wait(waiting, return_when=FIRST_COMPLETED).done, key=waiting.__getitem__)[:most]
            yield [(waiting.pop(future), future) for future in done]
    finally:
        for future in waiting:
            future.cancel()


def run(model: Model, one: Pass, pictures: Mapping[Key, Picture]) -> dict[Key, Detections | Exception]:
    """Run one pass. A batch that fails is tried again in halves, so that only what can't be predicted is lost."""
    if not pictures:
        return {}
    try:
        results = model.predict([picture.pixels for picture in pictures.values()], **one.options)
        return dict(zip(pictures, results, strict=True))
    except Exception as error:
        if len(pictures) == 1:
            return dict.fromkeys(pictures, error)
        logger.warning("A batch of %d failed and is tried again in halves: %s", len(pictures), error)
        keys = list(pictures)
        middle = len(keys) // 2
        halves = ({key: pictures[key] for key in half} for half in (keys[:middle], keys[middle:]))
        return {key: outcome for half in halves for key, outcome in run(model, one, half).items()}


def task_keys(tasks: Sequence[Task]) -> list[str]:
    """Return a key for each task: its id, so that it is the same in any request; unique also where ids are missing."""
    keys: dict[str, None] = {}
    for index, task in enumerate(tasks):
        name = str(task.get("id"))
        key, number = name, index
        while key in keys or (task.get("id") is None and key == name):
            key, number = f"{name}/{number}", number + 1
        keys[key] = None
    return list(keys)


def _on_page(regions: Iterable[Region], page: int) -> list[Region]:
    """Say which page of a ``valueList`` regions are on, counted from 0."""
    paged = [{**region, "item_index": page} for region in regions]
    for region in paged:
        for key in ("id", "parentID"):
            if key in region:
                region[key] = f"{region[key]}/{page}"
    return paged


def with_unique_ids(prediction: Prediction, task: str) -> Prediction:
    """Make the ids of a task's regions unique in the whole answer, and the same whenever it is asked for again."""

    def unique(region: Region) -> Region:
        return region | {
            key: hashlib.sha256(f"{task}/{region[key]}".encode(errors="surrogatepass")).hexdigest()[:10]
            for key in ("id", "parentID")
            if key in region
        }

    return replace(prediction, regions=[unique(region) for region in prediction.regions])
