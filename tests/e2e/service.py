"""This repository's service under gunicorn, as a user starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from .installation import REPOSITORY
from .processes import ServerProcess, answers, free_port

# What the service reads: a test sets these itself, and takes none from the environment it happens to run in.
_SETTINGS = (
    "BASIC_AUTH_",
    "LABEL_STUDIO_",
    "MODEL_",
    "LOG_",
    "PORT",
    "WORKERS",
    "THREADS",
    "DEBUG_PLOT",
    "ALLOW_",
    "PREDICT_",
    "MAX_",
    "MEDIA_",
    "TRUSTED_",
    "RESULT_",
    "GRACEFUL_",
    "RUNTIME",
    "DEVICE",
)


def service_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings of the service and no others."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    # Not one test may depend on a network: the library must neither fetch weights nor install packages.
    return env | {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", **settings}


class Service:
    """Runs ``gunicorn -c gunicorn.conf.py _wsgi:app`` on a free port with the given settings.

    ``directory`` is for what the service writes: its MODEL_DIR and the log. ``app`` is another one to run in its place, and
    ``within`` makes another command of the one that starts it.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        app: str = "_wsgi:app",
        within: Callable[[Sequence[str]], Sequence[str]] = list,
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = within([sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", app])
        self.server = ServerProcess("the service", log=directory / "service.log")
        self.basic_auth = (
            (settings["BASIC_AUTH_USER"], settings["BASIC_AUTH_PASS"]) if "BASIC_AUTH_USER" in settings else None
        )
        self._env = service_environment({"PORT": str(port), "MODEL_DIR": str(directory / "data"), **settings})

    def __enter__(self) -> Service:
        self.start()
        return self

    def start(self) -> None:
        """Start it, also once more after ``server.stop()``, at the same address."""
        self.server.start(
            self._command,
            env=self._env,
            cwd=REPOSITORY,
            ready=lambda: answers(f"{self.url}/health", auth=self.basic_auth),
            timeout=60,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()

    @property
    def log(self) -> str:
        """Everything that the service has logged so far."""
        return self.server.log_text()

    def status(self) -> Any:
        """GET /status."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.url}/status", auth=self.basic_auth, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def setup(self, request: Mapping[str, Any]) -> Any:
        """POST /setup, its JSON answer."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.url}/setup", json=request, auth=self.basic_auth, timeout=10)
        answer.raise_for_status()
        return answer.json()
