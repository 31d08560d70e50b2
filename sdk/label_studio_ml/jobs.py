"""Background work: one thread that makes one call after another."""

import contextvars
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Hashable

logger = logging.getLogger(__name__)


class Jobs:
    """A queue of calls and the thread that makes them.

    Label Studio gives up on a webhook after a second, and events come faster than a model learns. The thread starts with
    the first call and ends with the process, which doesn't wait for it.

    Args:
        capacity: How many calls may be queued.
    """

    def __init__(self, capacity: int = 1000) -> None:
        self._queue: queue.Queue[tuple[str, Callable[[], object], Hashable]] = queue.Queue(capacity)
        self._queued: dict[Hashable, str] = {}  # names of jobs by their topics
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], object], *, topic: Hashable = None) -> str:
        """Queue a call and return the name of its job. It runs in the current context, so that its log lines name the request.

        Args:
            call: What to do.
            topic: What the call is about. While a call with the same topic is queued, that one stands for both.

        Raises:
            queue.Full: Too many calls are queued.
        """
        job = uuid.uuid4().hex
        context = contextvars.copy_context()
        with self._lock:
            if topic is not None and topic in self._queued:
                return self._queued[topic]
            self._queue.put_nowait((job, lambda: context.run(call), topic))
            if topic is not None:
                self._queued[topic] = job
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="label-studio-ml-jobs", daemon=True)
                self._thread.start()
        return job

    def _run(self) -> None:
        while True:
            job, call, topic = self._queue.get()
            with self._lock:
                self._queued.pop(topic, None)
            try:
                call()
            except Exception:
                logger.exception("Job %s failed", job)
