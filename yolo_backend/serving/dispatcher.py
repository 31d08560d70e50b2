"""Who computes what, and when it is answered: one computation per task and version, whoever and however many ask."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cachetools import TTLCache

from yolo_backend.errors import ConfigError, LabelStudioError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.engine import Engine, get_engine
from yolo_backend.pipeline.plan import Plan
from yolo_backend.serving.context import Asked
from yolo_backend.serving.ledger import SIMULTANEOUS, Claims, Delivery
from yolo_backend.serving.outbox import Computation, Poster, is_held, packed, unpacked
from yolo_backend.tasks import Prediction, Task, task_keys, with_unique_ids

logger = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two looks at whether anybody still waits for an answer
FAILURES = 200  # failed tasks that are remembered
CLAIMS = "YOLO_BACKEND_CLAIMS"
"""Environment variable: where the workers tell each other what they do. gunicorn.conf.py sets it."""
SAVING = 3.0  # seconds that Label Studio is given to save an answer
PROJECTS = 200  # projects that are remembered


@dataclass(kw_only=True)
class _Running:
    """A computation that is under way, and the projects and the numbers of the tasks that it is for."""

    task: Task
    computation: Computation = field(default_factory=Future)
    tasks: dict[tuple[str | None, str], Any] = field(default_factory=dict)


class Dispatcher:
    """Shares computations between requests, and sees to it that none is lost. Safe to use from several threads."""

    def __init__(self, engine: Engine, claims: Claims | None = None) -> None:
        self.engine = engine
        settings = engine.settings
        self.settings = settings
        self._claims = claims or Claims(None)
        self.poster = Poster(self._claims)
        self.refused = 0  # requests that came while too many were waiting
        self.started = time.monotonic()
        self._pool = ThreadPool(settings.threads, thread_name_prefix="predict")
        # Who opens a task doesn't wait for the long batches of others.
        self._short_pool = ThreadPool(settings.threads, thread_name_prefix="predict-few")
        self._warmers = ThreadPool(1, thread_name_prefix="warm-up")
        self._warm: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._cache: TTLCache[str, bytes] = TTLCache(
            maxsize=settings.result_cache_mb * 1e6, ttl=settings.result_cache_seconds, getsizeof=len
        )
        self._opened: TTLCache[Delivery, float] = TTLCache(maxsize=1000, ttl=settings.predict_deadline)
        self._answered: dict[Delivery, tuple[float, float]] = {}
        self._waiting = 0
        self._failures: deque[dict[str, Any]] = deque(maxlen=FAILURES)
        self._failed = 0
        self._projects: OrderedDict[str, Plan] = OrderedDict()
        self._last_moment = float("inf")

    def predict(
        self, plan: Plan, tasks: Sequence[Task], label_studio: LabelStudio, asked: Asked
    ) -> list[Prediction | None]:
        """Return what is there by the deadline, one item per task, in order; None where there is nothing to save.

        What is late goes on in the background. It is then posted to Label Studio if there is an API key, and else kept for
        whoever asks next. No task is answered twice to people who click twice.
        """
        self.notice(asked.project, plan)
        if self.engine.preparer.lacks_weights(plan):
            # First, since the version depends on them.
            self._wait([self._warmers.submit(self.engine.preparer.fetch_weights, plan)], asked, give_up_early=False)
        version = self.engine.model_version(plan)
        deliveries = [_delivery(task, version, label_studio, asked) for task in tasks]
        own = {delivery for delivery in deliveries if delivery.task is not None}
        elsewhere = self._claims.take(own, asked.arrived)
        try:
            return self._answer(plan, version, tasks, deliveries, elsewhere, label_studio, asked)
        finally:
            left = [one for one in own - elsewhere if not self.poster.promised(one)]
            self._claims.release(left, asked.arrived)

    def _answer(
        self,
        plan: Plan,
        version: str,
        tasks: Sequence[Task],
        deliveries: Sequence[Delivery],
        elsewhere: Collection[Delivery],
        label_studio: LabelStudio,
        asked: Asked,
    ) -> list[Prediction | None]:
        """Return what is there by the deadline, but nothing of what another process sees to."""
        here = [place for place, delivery in enumerate(deliveries) if delivery not in elsewhere]
        work = self._begin(plan, version, [tasks[place] for place in here], label_studio, asked)
        with self._lock:
            self._waiting += 1
        metrics.requests_waiting.inc()
        try:
            # Who can't be reached otherwise may have closed no more than its own direction.
            may_post = self._may_post(label_studio)
            self._wait(work, asked, give_up_early=may_post)
        finally:
            with self._lock:
                self._waiting -= 1
            metrics.requests_waiting.dec()
        now, hung_up = time.monotonic(), asked.gone()
        predictions: list[Prediction | None] = [None] * len(tasks)
        keys = task_keys(tasks)
        late = failures = 0
        for place, computation in zip(here, work, strict=True):
            delivery, key = deliveries[place], keys[place]
            done = computation.done()
            failed = done and computation.exception() is not None
            failures += failed
            saved = delivery.task is not None
            if not done or (hung_up and may_post and saved and not failed):
                late += not done
                if may_post and saved:
                    self.poster.promise(delivery, computation, key, label_studio)
            elif not failed and not (saved and not hung_up and self._has_been_dealt_with(delivery, asked.arrived, now)):
                predictions[place] = with_unique_ids(unpacked(computation.result()), key)
        if len(tasks) == 1 and predictions[0] and may_post and self._is_saved(deliveries[0], asked, label_studio):
            predictions[0] = None
        metrics.tasks_late.inc(late)
        logger.log(
            logging.WARNING if late or failures or hung_up else logging.INFO,
            "%s: %s after %.1f s: predictions for %d of %d tasks, %d failed, %d go on in the background%s%s",
            f"Project {asked.project}" if asked.project else "No project",
            "Label Studio hung up" if hung_up else "answered",
            now - asked.arrived,
            len(tasks) - predictions.count(None),
            len(tasks),
            failures,
            late,
            "" if not late else " and are posted" if may_post else "; the next click gets them",
            f", another worker has {len(tasks) - len(here)}" if elsewhere else "",
        )
        return predictions

    def notice(self, project: str | None, plan: Plan) -> None:
        """Remember which plan a project has."""
        with self._lock:
            self._projects[str(project)] = plan
            self._projects.move_to_end(str(project))
            while len(self._projects) > PROJECTS:
                self._projects.popitem(last=False)

    def warm_up(self, plan: Plan) -> None:
        """Load the models of a plan in the background, once for each version of it."""
        version = self.engine.model_version(plan)
        with self._lock:
            if version in self._warm:
                return
            self._warm[version] = None
            while len(self._warm) > PROJECTS:
                self._warm.popitem(last=False)

        def warm() -> None:
            try:
                self.engine.preparer.warm_up(plan)
            except Exception:
                logger.exception("Warming up %s failed", version)

        self._warmers.submit(warm)

    def stop(self, seconds: float) -> None:
        """Answer what is there, within so many seconds from now: the process is about to end."""
        self._last_moment = min(self._last_moment, time.monotonic() + seconds)

    def close(self) -> None:
        """Wait until the background work is done and posted, as long as `stop` allows."""
        while time.monotonic() < self._last_moment and self.poster.left():
            time.sleep(0.1)
        left = self.poster.left()
        if left:
            logger.warning("%d predictions could not be posted any more; the next click computes them", left)
        self.poster.close()

    def status(self) -> dict[str, Any]:
        """Return what `/status` tells everybody, ready for JSON: numbers."""
        with self._lock:
            running, cached, megabytes = len(self._running), len(self._cache), self._cache.currsize / 1e6
        return {
            "process": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self.started),
            "requests_waiting": self._waiting,
            "requests_refused": self.refused,
            "tasks_running_or_queued": running,
            "predictions_to_post": self.poster.left(),
            "predictions_posted": self.poster.posted,
            "cached_predictions": cached,
            "cached_megabytes": round(megabytes, 3),
            "tasks_failed": self._failed,
        }

    def details(self) -> dict[str, Any]:
        """Return what `/status` tells the operator beside it: names of weights, projects and tasks, and what is wrong."""
        with self._lock:
            projects, failures = dict(self._projects), list(self._failures)
        return {
            "models": self.engine.models.loaded(),
            "projects": {
                name: {
                    "model_version": self.engine.model_version(plan),
                    "problems": self.engine.preparer.problems(plan),
                }
                for name, plan in projects.items()
            },
            "failed_tasks": failures[::-1],
        }

    # Computing

    def _begin(
        self, plan: Plan, version: str, tasks: Sequence[Task], label_studio: LabelStudio, asked: Asked
    ) -> list[Computation]:
        """Return the computation of each task: one that is done, one that is under way, or a new one."""
        names = [_name(version, task, label_studio) for task in tasks]
        work: list[Computation] = []
        hits = 0
        new: dict[str, _Running] = {}
        with self._lock:
            for name, task in zip(names, tasks, strict=True):
                if (kept := self._cache.get(name)) is not None:
                    computation = Computation()
                    computation.set_result(kept)
                    hits += 1
                else:
                    if name not in self._running:
                        self._running[name] = new[name] = _Running(task=task)
                    running, number = self._running[name], task.get("id")
                    running.tasks[asked.project, repr(number)] = number
                    computation = running.computation
                work.append(computation)
        metrics.tasks_asked.labels("hit").inc(hits)
        metrics.tasks_asked.labels("joined").inc(len(work) - hits - len(new))
        metrics.tasks_asked.labels("miss").inc(len(new))
        metrics.tasks_pending.inc(len(new))
        if new:
            pool = self._pool if len(new) > self.settings.batch_size else self._short_pool
            pool.submit(self._compute, plan, new, label_studio, asked.project)
        return work

    def _compute(self, plan: Plan, new: dict[str, _Running], label_studio: LabelStudio, project: str | None) -> None:
        names = list(new)
        shared: Exception | None = None
        reason: Exception = RuntimeError("no outcome")
        try:
            for index, outcome in self.engine.compute(plan, [one.task for one in new.values()], label_studio):
                self._finish(names[index], new[names[index]], outcome, told=outcome is shared)
                if isinstance(outcome, ConfigError):  # which all tasks share
                    shared = outcome
        except Exception as error:
            logger.exception("Not all tasks of project %s could be predicted", project)
            reason = error
        for name, running in new.items():
            if not running.computation.done():
                self._finish(name, running, reason)

    def _finish(self, name: str, running: _Running, outcome: Prediction | Exception, *, told: bool = False) -> None:
        content = b"" if isinstance(outcome, Exception) else packed(outcome)
        with self._lock:
            if 0 < len(content) <= self._cache.maxsize:
                self._cache[name] = content
            self._running.pop(name, None)
            metrics.cached_predictions.set(len(self._cache))
            metrics.cached_bytes.set(self._cache.currsize)
        metrics.tasks_pending.dec()
        metrics.task_done(outcome)
        if not isinstance(outcome, Exception):
            running.computation.set_result(content)
            return
        if not told:
            self._tell(running, outcome)
        running.computation.set_exception(outcome)

    def _tell(self, running: _Running, error: Exception) -> None:
        """Remember a failure for each task with this data; the first is in the log already."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for place, ((project, _), number) in enumerate(running.tasks.items()):
            if place and isinstance(error, ConfigError):
                break
            if place:
                logger.warning("Task %.60r left out: %s", number, error)
            with self._lock:
                self._failures.append({"at": at, "project": project, "task": number, "reason": str(error)})
                self._failed += 1

    # Answering

    def _wait(self, work: Sequence[Future[Any]], asked: Asked, *, give_up_early: bool) -> None:
        """Wait until all is done or time is up, or if it is to ``give_up_early`` until the client has hung up."""
        waiting = set(work)
        deadline = asked.arrived + self.settings.predict_deadline
        while waiting := {computation for computation in waiting if not computation.done()}:
            left = min(deadline, self._last_moment) - time.monotonic()
            if left <= 0 or (give_up_early and asked.gone()):
                break
            wait(waiting, timeout=min(left, LOOK))

    def _may_post(self, label_studio: LabelStudio) -> bool:
        return bool(self.settings.label_studio_api_key and label_studio.url and label_studio.credential)

    def _has_been_dealt_with(self, delivery: Delivery, arrived: float, now: float) -> bool:
        """Tell whether a prediction is posted, or was answered to another click while this one was waiting."""
        if self.poster.keeps(delivery, since=arrived):
            return True
        with self._lock:
            before = self._answered.get(delivery)
            if before is not None and abs(before[0] - arrived) > SIMULTANEOUS and before[1] > arrived:
                return True
            if now - arrived > SIMULTANEOUS:  # or no other click could have come in between
                self._answered.pop(delivery, None)
                self._answered[delivery] = (arrived, now)
                horizon = now - 2 * self.settings.predict_deadline
                while (first := next(iter(self._answered))) != delivery and self._answered[first][1] < horizon:
                    del self._answered[first]
        return False

    def _is_saved(self, delivery: Delivery, asked: Asked, label_studio: LabelStudio) -> bool:
        """Tell whether Label Studio has saved the answer to a request of the same moment.

        It asks twice when a task is opened, saves each answer, and shows what it has saved.
        """
        if delivery.task is None:
            return False
        with self._lock:
            # Both may be under way for long in a busy Label Studio: the second may come when the first is answered.
            answered = self._opened.get(delivery)
            if answered is None or answered + SAVING <= asked.arrived:
                self._opened[delivery] = time.monotonic()
                return False
        deadline = answered + SAVING
        try:
            while not (is_saved := is_held(label_studio, delivery.task, delivery.version)):
                if time.monotonic() > deadline:
                    break
                time.sleep(SAVING / 20)
        except LabelStudioError:
            return False
        return is_saved


def _delivery(task: Task, version: str, label_studio: LabelStudio, asked: Asked) -> Delivery:
    """Return what a task is due; without a number where that isn't saved, or Label Studio doesn't know the task."""
    number = task.get("id")
    saved = not asked.interactive and type(number) is int
    return Delivery(url=label_studio.url, project=asked.project, task=number if saved else None, version=version)


def _name(version: str, task: Task, label_studio: LabelStudio) -> str:
    """Return what identifies a computation: the same data, on the same server, for the same version."""
    state = json.dumps([version, label_studio.url, task.get("data")], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()


@lru_cache(maxsize=1)
def get_dispatcher() -> Dispatcher:
    """Return the dispatcher of this process."""
    return Dispatcher(get_engine(), Claims(os.environ.get(CLAIMS)))
