"""gunicorn's hooks: what the service does when it starts, when a worker starts or ends, and when it ends itself."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from yolo_backend.observability.logging import formatter, log_stray_output
from yolo_backend.observability.request_id import NONE, request_id
from yolo_backend.private_files import MASK
from yolo_backend.serving.shared_ledger import FILE_VARIABLE
from yolo_backend.settings import get_settings

MEMORY = "/dev/shm" if sys.platform == "linux" else None
"""Directory for small files that processes share: faster than a disk, and always writable."""
SPARE = 3  # seconds between a worker's last answers and gunicorn's killing it

_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "yolo-backend-"


class ServiceLogger(Logger):
    """Writes gunicorn's own records as the service writes its own."""

    def setup(self, cfg: Any) -> None:
        """See gunicorn."""
        super().setup(cfg)
        for handler in self.error_log.handlers + self.access_log.handlers:
            handler.setFormatter(formatter(get_settings()))


def share_directory() -> None:
    """Make the directory that the workers share. Called before ``prometheus_client`` is imported, which looks for it then.

    What libraries write in there, and in ``MODEL_DIR``, is for this user alone from here on.
    """
    os.umask(MASK)
    if not os.environ.get(_SHARED):
        os.environ[_SHARED] = tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY)


def on_starting(server: Any) -> None:
    """Let several workers see which tasks the others are working on."""
    if server.cfg.workers > 1:
        os.environ[FILE_VARIABLE] = f"{os.environ[_SHARED]}/ledger.sqlite"


def post_worker_init(worker: Any) -> None:
    """Import the models' libraries before a request needs them, and answer what is ready when the worker is to end."""
    from yolo_backend.observability import metrics
    from yolo_backend.serving.dispatcher import get_dispatcher

    log_stray_output()

    def prepare() -> None:
        get_dispatcher().engine.models.prepare()
        metrics.workers_ready.set(1)

    threading.Thread(target=prepare, name="prepare", daemon=True).start()

    stop_gunicorn: Any = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        get_dispatcher().stop(max(0.5, get_settings().graceful_timeout - SPARE))
        stop_gunicorn(number, frame)

    signal.signal(signal.SIGTERM, stop)


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Forget the request's id: the thread may log something before its next request."""
    request_id.set(NONE)


def worker_exit(server: Any, worker: Any) -> None:
    """Post what is left, then end at once: taking the libraries down piece by piece takes seconds."""
    from yolo_backend.serving.dispatcher import get_dispatcher

    get_dispatcher().close()
    logging.shutdown()
    os._exit(0)


def child_exit(server: Any, worker: Any) -> None:
    """Drop a dead worker's gauges, and keep its counters."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the directory that the workers shared."""
    directory = Path(os.environ[_SHARED])
    if directory.name.startswith(_PREFIX):
        shutil.rmtree(directory, ignore_errors=True)
