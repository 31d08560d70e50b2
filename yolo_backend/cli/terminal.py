"""What all commands share: the exit status, errors as text, and the log on the terminal."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import typer
from rich.console import Console
from rich.logging import RichHandler

from yolo_backend.errors import BackendError, ConfigError, LabelStudioError, WorkersLostError
from yolo_backend.observability.logging import configure_logging, formatter
from yolo_backend.serving.startup import log_doubts
from yolo_backend.settings import Settings, load_settings

stderr = Console(stderr=True)


class Exit(IntEnum):
    """The meanings of the exit status."""

    DONE = 0
    SOME_FAILED = 1
    NOT_STARTED = 2
    GAVE_UP = 3
    INTERRUPTED = 130


def prepare() -> Settings:
    """Read the settings and set up the log: warnings only, unless LOG_LEVEL is set."""
    settings = load_settings()
    quiet = {} if "log_level" in settings.model_fields_set else {"log_level": "WARNING"}
    configure_logging(settings.model_copy(update=quiet))
    if stderr.is_terminal:
        # Above the progress bar, not through it.
        handler = RichHandler(console=stderr, show_time=False, show_level=False, show_path=False)
        handler.setFormatter(formatter(settings))
        logging.getLogger().handlers = [handler]
    log_doubts(settings)
    # As Ctrl-C does: computed predictions are still posted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return settings


@contextmanager
def errors_as_text(when_stopped: str = "") -> Iterator[None]:
    """Turn errors into a line on standard error and an exit status."""
    try:
        yield
    except (LabelStudioError, WorkersLostError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.GAVE_UP) from None
    except BackendError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.NOT_STARTED) from None
    except KeyboardInterrupt:
        typer.echo(f"Stopped. {when_stopped}".strip(), err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
