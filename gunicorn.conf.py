"""Settings of gunicorn: `gunicorn -c gunicorn.conf.py _wsgi:app`."""

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

# Wherever it is started from.
sys.path.insert(0, str(Path(__file__).resolve().parent))

# Workers prove that they are alive through a file; memory is faster and always writable.
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None
# What the workers have in common. The library that counts asks for it when it is imported, as it is below.
PREFIX = "yolo-backend-"
if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=PREFIX, dir=worker_tmp_dir)

from gunicorn.glogging import Logger

from yolo_backend.errors import ConfigError
from yolo_backend.observability.logging import catch_all, formatter
from yolo_backend.observability.request_id import NONE, request_id
from yolo_backend.settings import WORKING_DIR, get_settings

SPARE = 3  # seconds before gunicorn kills a worker that doesn't end

try:
    settings = get_settings()
except ConfigError as error:
    sys.exit(f"error: {error}")


class Log(Logger):
    """gunicorn's own records, written as the service's are."""

    def setup(self, cfg: Any) -> None:
        """See gunicorn."""
        super().setup(cfg)
        for handler in self.error_log.handlers + self.access_log.handlers:
            handler.setFormatter(formatter(settings))


chdir = str(WORKING_DIR)
logger_class = Log
bind = f"0.0.0.0:{settings.port}"
worker_class = "yolo_backend.serving.gunicorn_worker.Worker"
workers = settings.workers
# More than predict requests may have, so that Label Studio's handshakes always find one.
threads = settings.max_concurrent_predicts + 32
# A worker of this kind is alive while its main thread is; a long prediction doesn't stop that.
timeout = 120
graceful_timeout = settings.graceful_timeout
keepalive = 5
loglevel = settings.log_level.lower()
errorlog = "-"
accesslog = "-" if settings.log_level == "DEBUG" else None
# Without the query string, which may hold what is not for a log.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Let several workers see which tasks the others are working on."""
    if workers > 1:
        os.environ["YOLO_BACKEND_CLAIMS"] = f"{os.environ['PROMETHEUS_MULTIPROC_DIR']}/claims.sqlite"


def post_worker_init(worker: Any) -> None:
    """Import what models need while nobody waits for it yet, and learn of the end in time to answer what is ready."""
    from yolo_backend.observability import metrics
    from yolo_backend.serving.dispatcher import get_dispatcher

    catch_all()

    def get_ready() -> None:
        get_dispatcher().engine.models.prepare()
        metrics.workers_ready.set(1)

    threading.Thread(target=get_ready, name="import", daemon=True).start()

    stop_gunicorn: Any = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        get_dispatcher().stop(max(0.5, settings.graceful_timeout - SPARE))
        stop_gunicorn(number, frame)

    signal.signal(signal.SIGTERM, stop)


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Forget the request: the thread may log something of none before the next one begins."""
    request_id.set(NONE)


def worker_exit(server: Any, worker: Any) -> None:
    """Post what is left, then end at once: taking the libraries down piece by piece takes seconds."""
    from yolo_backend.serving.dispatcher import get_dispatcher

    get_dispatcher().close()
    logging.shutdown()
    os._exit(0)


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a worker was doing, and keep what it has counted."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove what the workers had in common."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if directory.name.startswith(PREFIX):
        shutil.rmtree(directory, ignore_errors=True)
