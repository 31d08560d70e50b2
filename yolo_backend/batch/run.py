"""Predicts all tasks of a project: listing, computing and posting go on side by side."""

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

ROUNDS = 3  # attempts at a task: it may have failed because a server was away for a moment
FLUSH_SECONDS = 3.0  # for which predictions are collected before they are posted: each post takes its time
MAX_PREDICTIONS = 1000  # in one post
MAX_BYTES = 20_000_000


class Progress(Protocol):
    """Listens to the progress of a run. Called from several threads."""

    def start(self, tasks: int) -> None:
        """Take the number of tasks of the run."""

    def advance(self, tasks: int = 1) -> None:
        """Count tasks that are computed, have failed, or need no prediction any more."""

    def retry(self, tasks: int) -> None:
        """Count failed tasks that are tried again."""


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        expected: Tasks that were selected.
        saved: Tasks whose predictions Label Studio has accepted.
        skipped: Tasks that got a prediction from elsewhere before it was their turn, or were deleted.
        regions: In the saved predictions.
        failures: Reasons for the other tasks, by their ids, or by names of files.
        seconds: From the first task on.
    """

    expected: int = 0
    saved: int = 0
    skipped: int = 0
    regions: int = 0
    failures: dict[Any, str] = field(default_factory=dict)
    seconds: float = 0.0


class Run:
    """One run over a project."""

    def __init__(self, project: Project, workers: Workers, selection: Selection, progress: Progress) -> None:
        self.report = Report()
        self._project = project
        self._workers = workers
        self._selection = selection
        self._progress = progress
        self._stopping = project.stopping

    def go(self, ids: Sequence[int]) -> Report:
        """Predict tasks and post the predictions. An interrupted run still posts the predictions that it has computed.

        Raises:
            LabelStudioError: Label Studio refuses, or is away for too long.
        """
        started = time.monotonic()
        self.report.expected = len(ids)
        self._progress.start(len(ids))
        poster = BulkPoster(self._deliver)
        try:
            for number in range(ROUNDS):
                failures = self._round(ids, poster)
                self.report.failures.update(failures)
                # The first failures are tried again in any case, later ones only if some tasks have succeeded since.
                if not failures or (number and len(failures) == len(ids)) or number + 1 == ROUNDS:
                    break
                ids = list(failures)
                self._progress.retry(len(ids))
                for task in ids:
                    del self.report.failures[task]
        except BaseException:
            self._stopping.set()
            raise
        finally:
            poster.close()
            self.report.seconds = time.monotonic() - started
        return self.report

    def _round(self, ids: Sequence[int], poster: BulkPoster) -> dict[Any, str]:
        failures: dict[Any, str] = {}
        concurrency = self._workers.max_concurrency
        slots = threading.Semaphore(concurrency + 1)
        running: list[Future[None]] = []

        def compute(tasks: Sequence[Task]) -> None:
            remaining = {task["id"] for task in tasks}
            try:
                for index, outcome in self._workers.compute(tasks):
                    task = tasks[index]["id"]
                    if isinstance(outcome, Prediction):
                        poster.put(task, outcome)
                    else:
                        failures[task] = str(outcome) or type(outcome).__name__
                    remaining.discard(task)
                    self._progress.advance()
                    if self._stopping.is_set():
                        return
            except (LabelStudioError, WorkersLostError):
                raise
            except Exception as error:
                logger.exception("%d tasks could not be predicted", len(remaining))
                failures.update(dict.fromkeys(remaining, f"{type(error).__name__}: {error}"))
                self._progress.advance(len(remaining))
            finally:
                slots.release()

        with ThreadPoolExecutor(concurrency, thread_name_prefix="compute") as pool:
            try:
                for batch in batches(ids, IDS_PER_QUERY):
                    tasks = self._project.lacking(self._selection, batch)
                    self.report.skipped += len(batch) - len(tasks)
                    self._progress.advance(len(batch) - len(tasks))
                    for call in batches(tasks, self._workers.batch_size):
                        slots.acquire()
                        running = _unfinished(running)
                        running.append(pool.submit(compute, call))
                for future in running:
                    future.result()
            except BaseException:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
        return failures

    def _deliver(self, predictions: dict[int, Prediction]) -> None:
        refused = self._project.post(self._selection, predictions)
        for task, reason in refused.items():
            logger.warning("Label Studio refuses the prediction of task %s: %s", task, reason)
        self.report.failures.update(refused)
        self.report.saved += len(predictions) - len(refused)
        self.report.regions += sum(
            len(prediction.regions) for task, prediction in predictions.items() if task not in refused
        )


def _unfinished(futures: Sequence[Future[None]]) -> list[Future[None]]:
    """Return the futures that aren't done.

    Raises:
        Exception: the one of a future that failed.
    """
    for future in futures:
        if future.done():
            future.result()
    return [future for future in futures if not future.done()]


class BulkPoster:
    """Collects predictions and posts them in bulk, in a thread of its own.

    Predictions that are computed during a post go into the next one: the slower Label Studio, the larger the posts.
    """

    def __init__(self, deliver: Callable[[dict[int, Prediction]], None]) -> None:
        self._deliver = deliver
        self._collected: dict[int, Prediction] = {}
        self._bytes = 0
        self._since = 0.0  # when the first of them was computed
        self._closing = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._post_all, name="poster", daemon=True)
        self._thread.start()

    def put(self, task: int, prediction: Prediction) -> None:
        """Take a prediction; block while too many are waiting to be posted.

        Raises:
            LabelStudioError: posting has failed.
        """
        size = len(json.dumps(prediction.regions))
        with self._changed:
            self._changed.wait_for(lambda: not self._is_full() or self._error is not None)
            if self._error is not None:
                raise LabelStudioError("posting has failed") from self._error
            if not self._collected:
                self._since = time.monotonic()
            self._collected[task] = prediction
            self._bytes += size
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until all predictions are posted.

        Raises:
            Exception: the one that ended posting.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _is_full(self) -> bool:
        return len(self._collected) >= MAX_PREDICTIONS or self._bytes >= MAX_BYTES

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
        """Return the predictions of the next post; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._collected) or self._closing)
            remaining = self._since + FLUSH_SECONDS - time.monotonic()
            self._changed.wait_for(lambda: self._is_full() or self._closing, timeout=max(0.0, remaining))
            predictions, self._collected, self._bytes = self._collected, {}, 0
            self._changed.notify_all()
            return predictions
