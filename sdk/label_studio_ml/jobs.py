"""Training in the background: one thread, one job after another."""

import contextvars
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Hashable

logger = logging.getLogger(__name__)


class Jobs:
    """A queue of calls and the one thread that makes them.

    Label Studio gives up on a webhook after a second, and events come faster than a model learns. The thread starts with
    the first call and ends with the process, which doesn't wait for it.

    Args:
        capacity: How many calls may wait.
    """

    def __init__(self, capacity: int = 1000) -> None:
        self._waiting: queue.Queue[tuple[str, Callable[[], object], Hashable]] = queue.Queue(capacity)
        self._once: dict[Hashable, str] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], object], *, once: Hashable = None) -> str:
        """Queue a call and return the name of its job. It runs in the context of now, for what logs read from it.

        Args:
            call: What to do.
            once: What the call is about; while another about the same is waiting, that one stands for both.

        Raises:
            queue.Full: Too many calls are waiting.
        """
        job = uuid.uuid4().hex
        context = contextvars.copy_context()
        with self._lock:
            if once is not None and once in self._once:
                return self._once[once]
            self._waiting.put_nowait((job, lambda: context.run(call), once))
            if once is not None:
                self._once[once] = job
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="label-studio-ml-fit", daemon=True)
                self._thread.start()
        return job

    def _run(self) -> None:
        while True:
            job, call, once = self._waiting.get()
            with self._lock:
                self._once.pop(once, None)
            try:
                call()
            except Exception:
                logger.exception("Job %s failed", job)
