"""All tasks of a project predicted and posted: listing, computing and posting side by side."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from yolo_backend.batch.workers import Workers
from yolo_backend.errors import LabelStudioError, WorkersLostError
from yolo_backend.label_studio.project import IDS_PER_QUERY, Project, Selection, batches
from yolo_backend.tasks import Prediction, Task

logger = logging.getLogger(__name__)

ROUNDS = 3  # what fails may go well later: a server was away for a moment
GATHERED = (
    3.0  # seconds for which predictions are gathered before they are posted: a post takes its time, however small
)
MOST_PREDICTIONS = 1000  # in one post
MOST_BYTES = 20_000_000


class Watch(Protocol):
    """Who is told how it goes, from several threads."""

    def expect(self, tasks: int) -> None:
        """So many tasks are to be done."""

    def done(self, tasks: int = 1) -> None:
        """So many more are computed, failed, or need nothing."""

    def again(self, tasks: int) -> None:
        """So many failed tasks are tried once more."""


@dataclass
class Report:
    """What became of the tasks.

    Attributes:
        expected: tasks that were to be predicted.
        saved: tasks whose predictions Label Studio has taken.
        needless: tasks that had got a prediction elsewhere before it was their turn, or were gone.
        regions: in the saved predictions.
        failures: why the others have none, by their ids, or names of files.
        seconds: from the first task on.
    """

    expected: int = 0
    saved: int = 0
    needless: int = 0
    regions: int = 0
    failures: dict[Any, str] = field(default_factory=dict)
    seconds: float = 0.0


class Run:
    """One go at a project."""

    def __init__(self, project: Project, workers: Workers, selection: Selection, watch: Watch) -> None:
        self.report = Report()
        self._project = project
        self._workers = workers
        self._selection = selection
        self._watch = watch
        self._stopping = project.stopping

    def go(self, ids: Sequence[int]) -> Report:
        """Predict tasks and post the predictions. When it is interrupted, what is computed is posted still.

        Raises:
            LabelStudioError: Label Studio refuses, or is away for too long.
        """
        started = time.monotonic()
        self.report.expected = len(ids)
        self._watch.expect(len(ids))
        outbox = Outbox(self._deliver)
        try:
            for number in range(ROUNDS):
                failures = self._round(ids, outbox)
                self.report.failures.update(failures)
                # The first failures are tried again in any case, later ones if that did any good.
                if not failures or (number and len(failures) == len(ids)) or number + 1 == ROUNDS:
                    break
                ids = list(failures)
                self._watch.again(len(ids))
                for task in ids:
                    del self.report.failures[task]
        except BaseException:
            self._stopping.set()
            raise
        finally:
            outbox.close()
            self.report.seconds = time.monotonic() - started
        return self.report

    def _round(self, ids: Sequence[int], outbox: Outbox) -> dict[Any, str]:
        failures: dict[Any, str] = {}
        lanes = self._workers.lanes
        waiting = threading.Semaphore(lanes + 1)
        chunks: list[Future[None]] = []

        def compute(tasks: Sequence[Task]) -> None:
            left = {task["id"] for task in tasks}
            try:
                for index, outcome in self._workers.compute(tasks):
                    task = tasks[index]["id"]
                    if isinstance(outcome, Prediction):
                        outbox.put(task, outcome)
                    else:
                        failures[task] = str(outcome) or type(outcome).__name__
                    left.discard(task)
                    self._watch.done()
                    if self._stopping.is_set():
                        return
            except (LabelStudioError, WorkersLostError):
                raise
            except Exception as error:
                logger.exception("%d tasks could not be predicted", len(left))
                failures.update(dict.fromkeys(left, f"{type(error).__name__}: {error}"))
                self._watch.done(len(left))
            finally:
                waiting.release()

        with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
            try:
                for batch in batches(ids, IDS_PER_QUERY):
                    tasks = self._project.lacking(self._selection, batch)
                    self.report.needless += len(batch) - len(tasks)
                    self._watch.done(len(batch) - len(tasks))
                    for chunk in batches(tasks, self._workers.chunk):
                        waiting.acquire()
                        chunks = _unfinished(chunks)
                        chunks.append(pool.submit(compute, chunk))
                for chunk_done in chunks:
                    chunk_done.result()
            except BaseException:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
        return failures

    def _deliver(self, predictions: dict[int, Prediction]) -> None:
        refused = self._project.post(self._selection, predictions)
        for task, reason in refused.items():
            logger.warning("The prediction of task %s was not taken: %s", task, reason)
        self.report.failures.update(refused)
        self.report.saved += len(predictions) - len(refused)
        self.report.regions += sum(len(one.regions) for task, one in predictions.items() if task not in refused)


def _unfinished(futures: Sequence[Future[None]]) -> list[Future[None]]:
    """Return those that aren't done.

    Raises:
        Exception: of one that failed.
    """
    for future in futures:
        if future.done():
            future.result()
    return [future for future in futures if not future.done()]


class Outbox:
    """Predictions on their way to Label Studio, posted by a thread of its own, many at once.

    What is computed while a post is under way goes into the next: the slower Label Studio, the larger the posts.
    """

    def __init__(self, deliver: Callable[[dict[int, Prediction]], None]) -> None:
        self._deliver = deliver
        self._waiting: dict[int, Prediction] = {}
        self._bytes = 0
        self._since = 0.0  # when the first of them came
        self._closing = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._post_all, name="outbox", daemon=True)
        self._thread.start()

    def put(self, task: int, prediction: Prediction) -> None:
        """Take a prediction; waits while there are very many.

        Raises:
            LabelStudioError: posting has come to an end.
        """
        size = len(json.dumps(prediction.regions))
        with self._changed:
            self._changed.wait_for(lambda: not self._is_full() or self._error is not None)
            if self._error is not None:
                raise LabelStudioError("posting has come to an end") from self._error
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting[task] = prediction
            self._bytes += size
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until all are posted.

        Raises:
            Exception: whatever posting ended with.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _is_full(self) -> bool:
        return len(self._waiting) >= MOST_PREDICTIONS or self._bytes >= MOST_BYTES

    def _post_all(self) -> None:
        while predictions := self._next():
            try:
                self._deliver(predictions)
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return

    def _next(self) -> dict[int, Prediction]:
        """Return what is to be posted now; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
            left = self._since + GATHERED - time.monotonic()
            self._changed.wait_for(lambda: self._is_full() or self._closing, timeout=max(0.0, left))
            predictions, self._waiting, self._bytes = self._waiting, {}, 0
            self._changed.notify_all()
            return predictions
