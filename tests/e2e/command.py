"""`python -m yolo_backend …` as a user starts it, beside a real Label Studio."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .configs import codes_config
from .installation import REPOSITORY
from .label_studio import Json, LabelStudio
from .service import service_environment

PHOTOS = REPOSITORY / "examples" / "images"
IMAGES = sorted(path.name for path in PHOTOS.glob("*.jpg"))


def number_of_tasks(few: int) -> int:
    """How many tasks a whole project has: as few as a test needs, or as many as PROJECT_TASKS says."""
    return int(os.environ.get("PROJECT_TASKS") or few)


class Command:
    """A process of the command line; its output goes to a file."""

    def __init__(self, output: Path, *arguments: str | Path, **settings: str) -> None:
        self._output = output
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "yolo_backend", *map(str, arguments)],
                env=service_environment({"PYTHONFAULTHANDLER": "1", **settings}),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait(self, timeout: float = 300) -> int:
        """The exit status. One that doesn't end in time says what its threads are at."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._hangs(timeout) from None
        finally:
            self.process.kill()

    def wait_until(self, condition: Callable[[], bool], timeout: float = 300) -> None:
        """Wait until it is so; the process must not have ended by then. One that takes too long says the same."""
        until = time.monotonic() + timeout
        try:
            while not condition():
                assert self.process.poll() is None, f"it has ended:\n{self.output}"
                if time.monotonic() > until:
                    raise self._hangs(timeout)
                time.sleep(0.05)
        except BaseException:
            self.process.kill()
            raise

    def _hangs(self, seconds: float) -> AssertionError:
        self.process.send_signal(signal.SIGABRT)
        self.process.wait()
        return AssertionError(f"it hasn't come this far in {seconds:g} s:\n{self.output}")

    def kill_when(self, condition: Callable[[], bool]) -> None:
        """SIGKILL as soon as it is so."""
        self.wait_until(condition)
        self.process.kill()
        self.process.wait()


def run(output: Path, *arguments: str | Path, **settings: str) -> tuple[int, str]:
    """The exit status and the output."""
    command = Command(output, *arguments, **settings)
    status = command.wait()
    return status, command.output


def settings_for(label_studio: LabelStudio, directory: Path) -> dict[str, str]:
    """Where Label Studio is, a key, and the sample images."""
    return {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.personal_access_token,
        "LOCAL_FILES_DOCUMENT_ROOT": str(PHOTOS),
        "MODEL_DIR": str(directory),
        # The default, with which a prediction doesn't depend on what is predicted beside it.
        "RUNTIME": "auto",
    }


def project_of(
    label_studio: LabelStudio, tasks: int, config: str | None = None, *, prefix: str = "/data/local-files/?d="
) -> int:
    """A project with so many tasks, each of its own data, over the sample images."""
    project = label_studio.create_project(config or codes_config(), title="From the command line")
    data = [{"image": f"{prefix}{IMAGES[number % len(IMAGES)]}", "number": number} for number in range(tasks)]
    label_studio.import_tasks(project, data)
    return project


def contents(predictions: dict[int, list[dict[str, Json]]]) -> dict[int, list[tuple[Json, float, str]]]:
    """What was predicted for each task, without what Label Studio counts and dates."""
    return {
        task: [(one["result"], one["score"], one["model_version"]) for one in held]
        for task, held in predictions.items()
    }
