"""One predict request: which of its tasks are computed here, how long it waits, and what it is answered with."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from yolo_backend.errors import LabelStudioError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.observability import metrics
from yolo_backend.pipeline.engine import Engine, get_engine
from yolo_backend.pipeline.plan import Plan
from yolo_backend.serving.computations import Computations, Countdown
from yolo_backend.serving.context import RequestContext
from yolo_backend.serving.ledger import SAVE_SECONDS, PredictionKey, PredictionLedger
from yolo_backend.serving.outbox import Outbox, holds_prediction
from yolo_backend.serving.projects import Projects
from yolo_backend.serving.shared_ledger import FILE_VARIABLE, SharedPredictionLedger
from yolo_backend.tasks import Prediction, Task, task_keys, with_unique_ids

logger = logging.getLogger(__name__)

HANG_UP_INTERVAL = 0.5  # seconds between two looks at whether the client still waits
SAVED_INTERVAL = 0.2  # seconds between two questions whether Label Studio has saved an answer


class Dispatcher:
    """Answers predict requests in time, each task once, and sees to it that no prediction is lost. Thread-safe."""

    def __init__(self, engine: Engine, ledger: PredictionLedger | None = None) -> None:
        self.engine = engine
        self.settings = engine.settings
        self.projects = Projects(engine)
        self.computations = Computations(engine)
        self.ledger = ledger or PredictionLedger(longest_wait=self.settings.predict_deadline)
        self.outbox = Outbox(self.ledger)
        self.refused = 0  # requests that came while too many were waiting
        self._started = time.monotonic()
        self._waiting = 0
        self._lock = threading.Lock()
        self._last_moment = float("inf")

    def predict(
        self, plan: Plan, tasks: Sequence[Task], label_studio: LabelStudio, request: RequestContext
    ) -> list[Prediction | None]:
        """Return what is there by the deadline, one item per task, in order; None where there is nothing to save.

        What is late goes on in the background. It is then posted to Label Studio if there is an API key, and else kept for
        the next request. No task gets two predictions, however often people click.
        """
        self.projects.notice(request.project, plan)
        if self.engine.preparer.lacks_weights(plan):
            # First, since the version depends on them.
            self._wait([self.projects.fetch_weights(plan)], request, give_up_early=False)
        version = self.engine.model_version(plan)
        keys = [_key(task, version, label_studio, request) for task in tasks]
        recorded = {key for key in keys if key}
        elsewhere = self.ledger.begin(recorded, request.arrived, single=len(tasks) == 1)
        here = [index for index, key in enumerate(keys) if key not in elsewhere]
        try:
            some = [tasks[index] for index in here]
            futures = self.computations.begin(plan, version, some, label_studio, request.project)
            ready = self._ready(dict(zip(here, futures, strict=True)), keys, label_studio, request)
        finally:
            left = [key for key in recorded - elsewhere if not self.outbox.is_pending(key)]
            self.ledger.release(left, request.arrived)
        ids = task_keys(tasks)
        return [with_unique_ids(ready[index], ids[index]) if index in ready else None for index in range(len(tasks))]

    def stop(self, seconds: float) -> None:
        """Answer what is there, within so many seconds from now: the process is about to end."""
        self._last_moment = min(self._last_moment, time.monotonic() + seconds)

    def close(self) -> None:
        """Wait until the background work is done and posted, as long as `stop` allows."""
        while time.monotonic() < self._last_moment and self.outbox.pending():
            time.sleep(0.1)
        if pending := self.outbox.pending():
            logger.warning("%d predictions could not be posted any more; the next click computes them", pending)
        self.outbox.close()

    def status(self) -> dict[str, Any]:
        """Return what `/status` tells everybody, ready for JSON: numbers."""
        return {
            "process": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started),
            "requests_waiting": self._waiting,
            "requests_refused": self.refused,
            "predictions_to_post": self.outbox.pending(),
            "predictions_posted": self.outbox.posted,
            **self.computations.status(),
        }

    def details(self) -> dict[str, Any]:
        """Return what `/status` tells the operator beside it: names of weights, projects and tasks, and what is wrong."""
        return {
            "models": self.engine.models.loaded(),
            "projects": self.projects.details(),
            "failed_tasks": self.computations.failures(),
        }

    def _ready(
        self,
        futures: Mapping[int, Future[Prediction]],
        keys: Sequence[PredictionKey | None],
        label_studio: LabelStudio,
        request: RequestContext,
    ) -> dict[int, Prediction]:
        """Wait for predictions, and return by the indices of the tasks those that the request is answered with."""
        may_post = bool(self.settings.label_studio_api_key and label_studio.url and label_studio.credential)
        # A client that can't be reached otherwise may have closed no more than its own direction.
        self._wait(futures.values(), request, give_up_early=may_post)
        hung_up = request.has_hung_up()
        ready: dict[int, Prediction] = {}
        late = failed = 0
        for index, future in futures.items():
            key, is_done = keys[index], future.done()
            if is_done and future.exception() is not None:
                failed += 1
            elif is_done and not (hung_up and may_post and key):
                ready[index] = future.result()
            else:
                late += not is_done
                if may_post and key:
                    self.outbox.enqueue(key, future, label_studio)
        if not hung_up:
            recorded = {key: prediction for index, prediction in ready.items() if (key := keys[index])}
            answers = self._settle(recorded, label_studio, request, single=len(keys) == 1)
            ready = {index: ready[index] for index in ready if keys[index] is None or keys[index] in answers}
        metrics.tasks_late.inc(late)
        logger.log(
            logging.WARNING if late or failed or hung_up else logging.INFO,
            "%s: %s after %.1f s: predictions for %d of %d tasks, %d failed, %d go on in the background%s%s",
            f"Project {request.project}" if request.project else "No project",
            "Label Studio hung up" if hung_up else "answered",
            time.monotonic() - request.arrived,
            len(ready),
            len(keys),
            failed,
            late,
            "" if not late else " and are posted" if may_post else "; the next click gets them",
            f", another worker has {len(keys) - len(futures)}" if len(futures) < len(keys) else "",
        )
        return ready

    def _settle(
        self,
        predictions: Mapping[PredictionKey, Prediction],
        label_studio: LabelStudio,
        request: RequestContext,
        *,
        single: bool,
    ) -> set[PredictionKey]:
        """Return which of these the request is answered with. Label Studio has the others, or gets them otherwise."""
        answers, doubtful = self.ledger.settle(predictions.keys(), request.arrived, single=single)
        while doubtful:
            versions = {key: predictions[key].model_version for key in doubtful}
            lost = self._lost(doubtful, versions, label_studio, request)
            self.ledger.lost(lost)
            more, doubtful = self.ledger.settle(lost.keys(), request.arrived, single=single)
            answers |= more
        self.outbox.cancel(answers)
        return answers

    def _lost(
        self,
        given: Mapping[PredictionKey, float],
        versions: Mapping[PredictionKey, str],
        label_studio: LabelStudio,
        request: RequestContext,
    ) -> Mapping[PredictionKey, float]:
        """Return what of ``given`` Label Studio lacks, once it has had the time to save it.

        Where it can't be asked that is all: rather two predictions than none.
        """
        if not (label_studio.url and label_studio.credential):
            return given
        lost, saved_by = dict(given), max(given.values()) + SAVE_SECONDS
        try:
            while lost:
                is_last = time.monotonic() > saved_by
                for key in list(lost):
                    if time.monotonic() > self._deadline(request):
                        return {}
                    if holds_prediction(label_studio, key.task, versions[key], timeout=SAVE_SECONDS):
                        del lost[key]
                if is_last:
                    break
                time.sleep(SAVED_INTERVAL)
        except LabelStudioError:
            return given
        return lost

    def _deadline(self, request: RequestContext) -> float:
        return min(request.arrived + self.settings.predict_deadline, self._last_moment)

    def _wait(self, futures: Collection[Future[Any]], request: RequestContext, *, give_up_early: bool) -> None:
        """Wait until all is done or time is up, or if it is to ``give_up_early`` until the client has hung up."""
        countdown = Countdown(futures)
        with self._lock:
            self._waiting += 1
        metrics.requests_waiting.inc()
        try:
            while (seconds := self._deadline(request) - time.monotonic()) > 0:
                if countdown.finished.wait(min(seconds, HANG_UP_INTERVAL)) or (give_up_early and request.has_hung_up()):
                    break
        finally:
            with self._lock:
                self._waiting -= 1
            metrics.requests_waiting.dec()


def _key(task: Task, version: str, label_studio: LabelStudio, request: RequestContext) -> PredictionKey | None:
    """Return what Label Studio would save a prediction for; None if it won't, or doesn't know the task."""
    number = task.get("id")
    if request.interactive or type(number) is not int:
        return None
    return PredictionKey(url=label_studio.url, project=request.project, task=number, version=version)


@lru_cache(maxsize=1)
def get_dispatcher() -> Dispatcher:
    """Return the dispatcher of this process."""
    engine = get_engine()
    wait = engine.settings.predict_deadline
    path = os.environ.get(FILE_VARIABLE)
    return Dispatcher(engine, SharedPredictionLedger(path, longest_wait=wait) if path else None)
