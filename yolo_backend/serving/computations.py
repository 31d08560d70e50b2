"""Predictions being made, which all requests for the same data share, and those kept in memory for the next request."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import Plan
from yolo_backend.tasks import Prediction, Task

logger = logging.getLogger(__name__)

FAILURES = 200  # failed tasks that are remembered


@dataclass(kw_only=True)
class _Computation:
    """A prediction being made, and the projects and ids of the tasks that it is for."""

    task: Task
    future: Future[Prediction] = field(default_factory=Future)
    tasks: dict[tuple[str | None, str], Any] = field(default_factory=dict)


class Computations:
    """Makes each prediction once, whoever and however many ask for it. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        settings = engine.settings
        self._engine = engine
        self._pool = ThreadPool(settings.threads, thread_name_prefix="predict")
        # A task that is opened doesn't wait for long batches.
        self._short_pool = ThreadPool(settings.threads, thread_name_prefix="predict-few")
        self._lock = threading.Lock()
        self._running: dict[str, _Computation] = {}
        self._cache: TTLCache[str, bytes] = TTLCache(
            maxsize=settings.result_cache_mb * 1e6, ttl=settings.result_cache_seconds, getsizeof=len
        )
        self._failures: deque[dict[str, Any]] = deque(maxlen=FAILURES)
        self._failed = 0

    def begin(
        self, plan: Plan, version: str, tasks: Sequence[Task], label_studio: LabelStudio, project: str | None
    ) -> list[Future[Prediction]]:
        """Return the future prediction of each task: kept in memory, being made, or begun now."""
        names = [_name(version, task, label_studio, project) for task in tasks]
        kept: dict[str, bytes] = {}
        new: dict[str, _Computation] = {}
        futures: list[Future[Prediction]] = []
        with self._lock:
            for name, task in zip(names, tasks, strict=True):
                if (content := self._cache.get(name)) is not None:
                    kept[name] = content
                    futures.append(Future())
                    continue
                if name not in self._running:
                    self._running[name] = new[name] = _Computation(task=task)
                computation, number = self._running[name], task.get("id")
                computation.tasks[project, repr(number)] = number
                futures.append(computation.future)
        for name, future in zip(names, futures, strict=True):
            if name in kept:
                future.set_result(Prediction.unpack(kept[name]))
        hits = sum(name in kept for name in names)
        metrics.tasks_asked.labels("hit").inc(hits)
        metrics.tasks_asked.labels("joined").inc(len(tasks) - hits - len(new))
        metrics.tasks_asked.labels("miss").inc(len(new))
        metrics.tasks_pending.inc(len(new))
        if new:
            pool = self._pool if len(new) > self._engine.settings.batch_size else self._short_pool
            pool.submit(self._compute, plan, new, label_studio, project)
        return futures

    def status(self) -> dict[str, Any]:
        """Return the numbers that `/status` tells everybody."""
        with self._lock:
            return {
                "tasks_running_or_queued": len(self._running),
                "cached_predictions": len(self._cache),
                "cached_megabytes": round(self._cache.currsize / 1e6, 3),
                "tasks_failed": self._failed,
            }

    def failures(self) -> list[dict[str, Any]]:
        """Return the tasks that failed last, with the reasons, the latest first."""
        with self._lock:
            return list(self._failures)[::-1]

    def _compute(
        self, plan: Plan, new: dict[str, _Computation], label_studio: LabelStudio, project: str | None
    ) -> None:
        names = list(new)
        shared: Exception | None = None
        reason: Exception = RuntimeError("no outcome")
        try:
            for index, outcome in self._engine.compute(plan, [each.task for each in new.values()], label_studio):
                self._finish(names[index], new[names[index]], outcome, is_told=outcome is shared)
                if isinstance(outcome, ConfigError):  # which all tasks share
                    shared = outcome
        except Exception as error:
            logger.exception("Not all tasks of project %s could be predicted", project)
            reason = error
        for name, computation in new.items():
            if not computation.future.done():
                self._finish(name, computation, reason)

    def _finish(
        self, name: str, computation: _Computation, outcome: Prediction | Exception, *, is_told: bool = False
    ) -> None:
        # What lacks a part is computed again for the next click.
        content = outcome.packed() if isinstance(outcome, Prediction) and outcome.is_complete else b""
        with self._lock:
            if 0 < len(content) <= self._cache.maxsize:
                self._cache[name] = content
            self._running.pop(name, None)
            metrics.cached_predictions.set(len(self._cache))
            metrics.cached_bytes.set(self._cache.currsize)
        metrics.tasks_pending.dec()
        metrics.task_done(outcome)
        if isinstance(outcome, Prediction):
            computation.future.set_result(outcome)
            return
        if not is_told:
            self._tell(computation, outcome)
        computation.future.set_exception(outcome)

    def _tell(self, computation: _Computation, error: Exception) -> None:
        """Remember a failure for each task with this data; the first is in the log already."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for index, ((project, _), number) in enumerate(computation.tasks.items()):
            if index and isinstance(error, ConfigError):
                break
            if index:
                logger.warning("Task %.60r left out: %s", number, error)
            with self._lock:
                self._failures.append({"at": at, "project": project, "task": number, "reason": str(error)})
                self._failed += 1


class Countdown:
    """Tells when all of many futures are done, without looking at each of them again and again.

    Attributes:
        finished: set then.
    """

    def __init__(self, futures: Collection[Future[Any]]) -> None:
        self.finished = threading.Event()
        self._left = len(futures) + 1
        self._lock = threading.Lock()
        for future in futures:
            future.add_done_callback(self._count)
        self._count()

    def _count(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self.finished.set()


def _name(version: str, task: Task, label_studio: LabelStudio, project: str | None) -> str:
    """Return what identifies a computation: the same data of the same project, opened with the same credential.

    Whoever may not open a picture must not learn what is on it because somebody else may.
    """
    identity = label_studio.credential.identity if label_studio.credential else None
    state = json.dumps([version, label_studio.url, project, identity, task.get("data")], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()
