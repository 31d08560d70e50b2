"""Settings of gunicorn: `gunicorn -c gunicorn.conf.py _wsgi:app`."""

import sys
from pathlib import Path

# Wherever it is started from.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from yolo_backend.errors import ConfigError
from yolo_backend.serving import gunicorn_hooks
from yolo_backend.settings import WORKING_DIR, get_settings

try:
    settings = get_settings()
except ConfigError as error:
    sys.exit(f"error: {error}")
gunicorn_hooks.share_directory()

chdir = str(WORKING_DIR)
bind = f"0.0.0.0:{settings.port}"
worker_class = "yolo_backend.serving.gunicorn_worker.Worker"
workers = settings.workers
# More than predict requests may have, so that Label Studio's handshakes always find one.
threads = settings.max_concurrent_predicts + 32
# A worker of this kind is alive while its main thread is; a long prediction doesn't stop that.
timeout = 120
graceful_timeout = settings.graceful_timeout
keepalive = 5
# Workers prove through a file that they are alive.
worker_tmp_dir = gunicorn_hooks.MEMORY
control_socket_disable = True

logger_class = gunicorn_hooks.ServiceLogger
loglevel = settings.log_level.lower()
errorlog = "-"
accesslog = "-" if settings.log_level == "DEBUG" else None
# Without the query string, which may hold a secret.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'

on_starting = gunicorn_hooks.on_starting
post_worker_init = gunicorn_hooks.post_worker_init
post_request = gunicorn_hooks.post_request
worker_exit = gunicorn_hooks.worker_exit
child_exit = gunicorn_hooks.child_exit
on_exit = gunicorn_hooks.on_exit
