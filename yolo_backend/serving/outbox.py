"""Predictions that came too late for an answer, posted to Label Studio in the background."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import zlib
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field

from yolo_backend.errors import BackendError, LabelStudioAwayError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import request_id
from yolo_backend.serving.ledger import REMEMBERED, Claims, Delivery
from yolo_backend.tasks import Prediction, with_unique_ids

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0  # seconds between two tries
TRIES = 8  # for an error of Label Studio's own; while it is away or busy there is no limit
FORGOTTEN = 600.0  # seconds after which it doesn't matter any more what was posted

Computation = Future[bytes]
"""A prediction that is made or will be, `packed`: there may be thousands, and masks are large."""


def packed(prediction: Prediction) -> bytes:
    """Return a prediction in as few bytes as can be had quickly."""
    return zlib.compress(json.dumps([prediction.regions, prediction.model_version]).encode(), level=1)


def unpacked(content: bytes) -> Prediction:
    """Return the prediction that was `packed`."""
    regions, version = json.loads(zlib.decompress(content))
    return Prediction(regions=regions, model_version=version)


@dataclass(kw_only=True)
class _Parcel:
    delivery: Delivery
    computation: Computation
    key: str
    label_studio: LabelStudio
    request: str = field(default_factory=request_id.get)
    tries: int = 0


def is_held(label_studio: LabelStudio, task: int | None, version: str) -> bool:
    """Tell whether Label Studio has a prediction of this version for a task.

    Raises:
        LabelStudioError: it doesn't say.
    """
    known = label_studio.ask("GET", f"/api/predictions/?task={task}")
    return any(one.get("model_version") == version for one in known if isinstance(one, dict))


class Poster:
    """Posts what was promised, each task once, with patience while Label Studio is away. Safe to use from several threads."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self.posted = 0
        self._lock = threading.Lock()
        self._open: set[Delivery] = set()
        self._posted: OrderedDict[Delivery, float] = OrderedDict()  # and when, the first one first
        self._in_hand: Delivery | None = None
        self._failures = 0  # in a row
        self._ready: queue.Queue[_Parcel] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def promise(self, delivery: Delivery, computation: Computation, key: str, label_studio: LabelStudio) -> None:
        """Post a prediction once it is computed; ``key`` makes its regions' ids unique."""
        with self._lock:
            if delivery in self._open:
                return
            self._open.add(delivery)
            metrics.predictions_to_post.set(len(self._open))
            if self._thread is None:
                self._thread = threading.Thread(target=self._post_all, name="poster", daemon=True)
                self._thread.start()
        parcel = _Parcel(delivery=delivery, computation=computation, key=key, label_studio=label_studio)

        def computed(computation: Computation) -> None:
            if computation.exception() is None:
                self._ready.put(parcel)
            else:  # whose reason is told by who computed it
                with self._lock:
                    self._open.discard(delivery)
                    metrics.predictions_to_post.set(len(self._open))
                self._claims.release([delivery])

        computation.add_done_callback(computed)

    def keeps(self, delivery: Delivery, *, since: float) -> bool:
        """Tell whether a prediction is not to be answered, because it is posted instead.

        It is posted soon, or was after ``since`` (`time.monotonic()`) or shortly before. While Label Studio can't be
        reached, whoever asks gets it, and it is not posted any more.
        """
        with self._lock:
            if delivery in self._posted:
                return self._posted[delivery] > since - REMEMBERED
            if self._failures and delivery != self._in_hand:
                self._open.discard(delivery)
                metrics.predictions_to_post.set(len(self._open))
            return delivery in self._open

    def promised(self, delivery: Delivery) -> bool:
        """Tell whether it is still to be posted."""
        with self._lock:
            return delivery in self._open

    def left(self) -> int:
        """Return how many promises are open."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Stop posting."""
        self._closed.set()

    def _post_all(self) -> None:
        while not self._closed.is_set():
            parcel = self._ready.get()
            request_id.set(parcel.request)
            with self._lock:
                if parcel.delivery not in self._open:
                    continue
                self._in_hand = parcel.delivery
            try:
                self._post(parcel)
            except LabelStudioAwayError as error:
                parcel.tries += not (error.unreachable or error.busy)
                if parcel.tries < TRIES:
                    self._pause(error, parcel)
                else:
                    self._settled(parcel, f"{error}, {TRIES} times")
            except BackendError as error:
                self._settled(parcel, str(error))
            except Exception as error:
                logger.exception("Posting the prediction of task %s failed", parcel.delivery.task)
                self._settled(parcel, type(error).__name__)
            else:
                self._settled(parcel)

    def _settled(self, parcel: _Parcel, refusal: str | None = None) -> None:
        if refusal:
            logger.warning("The prediction of task %s was not posted: %s", parcel.delivery.task, refusal)
            self._claims.release([parcel.delivery])
        else:
            self._claims.posted(parcel.delivery)
        now = time.monotonic()
        with self._lock:
            self._in_hand = None
            self._open.discard(parcel.delivery)
            metrics.predictions_to_post.set(len(self._open))
            metrics.predictions_posted.labels("refused" if refusal else "posted").inc()
            self._failures = 0
            if refusal is None:
                self.posted += 1
                self._posted.pop(parcel.delivery, None)
                self._posted[parcel.delivery] = now
            while self._posted and next(iter(self._posted.values())) < now - FORGOTTEN:
                self._posted.popitem(last=False)

    def _pause(self, error: LabelStudioAwayError, parcel: _Parcel) -> None:
        with self._lock:
            self._in_hand = None
            pause = min(LONGEST_PAUSE, 2.0**self._failures)
            self._failures += 1
            left = len(self._open)
        metrics.post_retries.inc()
        logger.warning(
            "Posting to Label Studio failed (%s); %d predictions wait, the next try is in %.0f s", error, left, pause
        )
        self._closed.wait(pause)
        self._ready.put(parcel)

    def _post(self, parcel: _Parcel) -> None:
        prediction = with_unique_ids(unpacked(parcel.computation.result()), parcel.key)
        label_studio, task = parcel.label_studio, parcel.delivery.task
        # Another process, or this one before an answer got lost, may have posted it.
        if is_held(label_studio, task, prediction.model_version):
            return
        body = {
            "task": task,
            "result": prediction.regions,
            "score": prediction.score,
            "model_version": prediction.model_version,
        }
        label_studio.ask("POST", "/api/predictions/", body)
