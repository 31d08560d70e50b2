"""Predictions that came too late for an answer, posted to Label Studio in the background."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from yolo_backend.errors import BackendError, LabelStudioAwayError
from yolo_backend.label_studio.client import CALL_TIMEOUT, LabelStudio
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import request_id
from yolo_backend.serving.ledger import SAVE_SECONDS, PredictionKey, PredictionLedger
from yolo_backend.tasks import Prediction

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0  # seconds between two tries
TRIES = 8  # for an error of Label Studio's own; while it is away or busy there is no limit

NOT_CARRIED_OUT = (425, 429, 503)  # statuses of a post that Label Studio has not looked at


@dataclass(kw_only=True)
class OutboxItem:
    """One prediction on its way to Label Studio.

    Attributes:
        content: the prediction, `packed`.
        request: the id of the request that it was made for.
        tries: that failed by an error of Label Studio's own.
        is_unknown: whether Label Studio has it, since a post was not answered.
    """

    key: PredictionKey
    label_studio: LabelStudio
    content: bytes = b""
    request: str = field(default_factory=request_id.get)
    tries: int = 0
    is_unknown: bool = False


def holds_prediction(label_studio: LabelStudio, task: int, version: str, *, timeout: float = CALL_TIMEOUT) -> bool:
    """Tell whether Label Studio holds a prediction of this version for a task.

    Raises:
        LabelStudioError: it doesn't say within ``timeout`` seconds.
    """
    known = label_studio.ask("GET", f"/api/predictions/?task={task}", timeout=timeout)
    return any(each.get("model_version") == version for each in known if isinstance(each, dict))


class Outbox:
    """Posts predictions, with patience while Label Studio is away, unless a request is answered with them first. Thread-safe.

    Attributes:
        posted: how many it has posted.
    """

    def __init__(self, ledger: PredictionLedger) -> None:
        self.posted = 0
        self._ledger = ledger
        self._lock = threading.Lock()
        self._pending: set[PredictionKey] = set()
        self._failures = 0  # in a row
        self._ready: queue.SimpleQueue[OutboxItem] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def enqueue(self, key: PredictionKey, computation: Future[Prediction], label_studio: LabelStudio) -> None:
        """Post a prediction once it is computed."""
        with self._lock:
            if key in self._pending:
                return
            self._pending.add(key)
            metrics.predictions_to_post.set(len(self._pending))
            if self._thread is None:
                self._thread = threading.Thread(target=self._post_all, name="outbox", daemon=True)
                self._thread.start()
        item = OutboxItem(key=key, label_studio=label_studio)

        def computed(computation: Future[Prediction]) -> None:
            if computation.exception() is None:
                item.content = computation.result().packed()
                self._ready.put(item)
            else:  # the reason is logged where it is computed
                self._ledger.release([key])
                self.cancel([key])

        computation.add_done_callback(computed)

    def is_pending(self, key: PredictionKey) -> bool:
        """Tell whether a prediction is still to be posted."""
        with self._lock:
            return key in self._pending

    def pending(self) -> int:
        """Return how many predictions are still to be posted."""
        with self._lock:
            return len(self._pending)

    def cancel(self, keys: Iterable[PredictionKey]) -> None:
        """Don't post these any more."""
        with self._lock:
            self._pending.difference_update(keys)
            metrics.predictions_to_post.set(len(self._pending))

    def close(self) -> None:
        """Stop posting."""
        self._closed.set()

    def _post_all(self) -> None:
        while not self._closed.is_set():
            item = self._ready.get()
            request_id.set(item.request)
            if self.is_pending(item.key):
                self._try(item)

    def _try(self, item: OutboxItem) -> None:
        try:
            self._post(item)
        except LabelStudioAwayError as error:
            if not item.is_unknown:
                self._ledger.release([item.key])  # to a click that comes before the next try
            item.tries += not (error.unreachable or error.busy)
            if item.tries < TRIES:
                self._pause(error, at_least=SAVE_SECONDS if item.is_unknown else 0.0)
                self._ready.put(item)
                return
            self._refused(item, f"{error}, {TRIES} times")
        except BackendError as error:
            self._refused(item, str(error))
        except Exception as error:
            logger.exception("Posting the prediction of task %s failed", item.key.task)
            self._refused(item, type(error).__name__)
        self._failures = 0
        self.cancel([item.key])

    def _post(self, item: OutboxItem) -> None:
        prediction, task = Prediction.unpack(item.content), item.key.task
        # Another process, or this one before an answer got lost, may have posted it.
        if not holds_prediction(item.label_studio, task, prediction.model_version):
            item.is_unknown = False
            if not self._ledger.begin_post(item.key):
                return  # a request has just been answered with it
            try:
                item.label_studio.ask("POST", "/api/predictions/", prediction.for_api(task))
            except LabelStudioAwayError as error:
                item.is_unknown = error.status not in NOT_CARRIED_OUT
                raise
        self._ledger.posted(item.key)
        self.posted += 1
        metrics.predictions_posted.labels("posted").inc()

    def _refused(self, item: OutboxItem, reason: str) -> None:
        logger.warning("The prediction of task %s was not posted: %s", item.key.task, reason)
        self._ledger.release([item.key])
        metrics.predictions_posted.labels("refused").inc()

    def _pause(self, error: LabelStudioAwayError, *, at_least: float) -> None:
        pause = max(at_least, min(LONGEST_PAUSE, 2.0**self._failures))
        self._failures += 1
        metrics.post_retries.inc()
        logger.warning(
            "Posting to Label Studio failed (%s); %d predictions wait, the next try is in %.0f s",
            *(error, self.pending(), pause),
        )
        self._closed.wait(pause)
