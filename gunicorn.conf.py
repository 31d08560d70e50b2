"""Settings of gunicorn: `gunicorn -c gunicorn.conf.py _wsgi:app`."""

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

# Wherever it is started from.
chdir = str(Path(__file__).resolve().parent)
sys.path.insert(0, chdir)

from yolo_backend.errors import ConfigError
from yolo_backend.inference.library import ultralytics
from yolo_backend.settings import get_settings

try:
    settings = get_settings()
except ConfigError as error:
    sys.exit(f"error: {error}")

bind = f"0.0.0.0:{settings.port}"
worker_class = "gthread"
workers = settings.workers
# More than may predict at once, so that Label Studio's handshakes find one while predictions wait for their turn.
threads = settings.threads + 32
# A worker of this kind is alive while its main thread is; a long prediction doesn't stop that.
timeout = 120
# Label Studio waits 100 s for predictions; what has begun may end.
graceful_timeout = 100
keepalive = 5
loglevel = settings.log_level.lower()
errorlog = "-"
accesslog = "-" if settings.log_level == "DEBUG" else None
# Without the query string, which may hold what is not for a log.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'
# Workers prove that they are alive through a file; memory is faster and always writable.
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Import the YOLO library while nobody waits for it yet: that takes seconds."""
    threading.Thread(target=ultralytics, name="import", daemon=True).start()


def worker_exit(server: Any, worker: Any) -> None:
    """End a worker that has finished its requests at once: taking the libraries down piece by piece takes seconds."""
    logging.shutdown()
    os._exit(0)
