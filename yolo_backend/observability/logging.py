"""Logging: one line per record on standard error, with the id of its request and without secrets."""

from __future__ import annotations

import json
import logging
import re
import threading
import time

from yolo_backend.observability.redaction import MAX_TRACEBACK, Redactor
from yolo_backend.observability.request_id import request_id
from yolo_backend.settings import Settings

OWN = ("yolo_backend", "label_studio_ml", "model", "werkzeug")
"""Loggers to which ``LOG_LEVEL`` applies; the others log warnings only, or less."""

# With line breaks, or signs that reverse the direction of text, task data could forge lines.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

logger = logging.getLogger(__name__)


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._redactor = redactor

    def message(self, record: logging.LogRecord) -> str:
        """Return the message on one line."""
        return _CONTROL.sub(_escaped, self._redactor(record.getMessage()))

    def traceback(self, record: logging.LogRecord) -> str:
        """Return the traceback, empty if the record has none."""
        text = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if record.stack_info:
            text = f"{text}\n{record.stack_info}".strip()
        # The end has the reason.
        return self._redactor(text[-MAX_TRACEBACK:], MAX_TRACEBACK)

    def time(self, record: logging.LogRecord) -> str:
        """Return the time, UTC."""
        return f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z"


class TextFormatter(_Formatter):
    """Lines for people. Each line of a traceback has the request's id too, so that a search for the id finds all lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        request = request_id.get()
        lines = [f"{self.time(record)} {record.levelname} [{request}] {record.name}: {self.message(record)}"]
        lines += [f"[{request}] | {_CONTROL.sub(_escaped, line)}" for line in self.traceback(record).splitlines()]
        return "\n".join(lines)


class JSONFormatter(_Formatter):
    """JSON for programs: an object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        entry = {
            "time": self.time(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": request_id.get(),
            "message": self.message(record),
        }
        if traceback := self.traceback(record):
            entry["traceback"] = traceback
        return json.dumps(entry)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode()


_FORMATTERS: dict[str, type[_Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


def formatter(settings: Settings) -> logging.Formatter:
    """Return the formatter that the settings choose."""
    return _FORMATTERS[settings.log_format](Redactor(settings.secrets))


def configure_logging(settings: Settings) -> None:
    """Send the records of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings))
    level = logging.getLevelName(settings.log_level)
    logging.basicConfig(level=max(logging.WARNING, level), handlers=[handler], force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(level)


def log_stray_output() -> None:
    """Log what Python itself would write to standard error: warnings, and exceptions that end threads."""
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_exception
    # Python would print a record that can't be formatted, secrets included.
    logging.raiseExceptions = False


def _log_thread_exception(ended: threading.ExceptHookArgs) -> None:
    logger.error("The thread %s has ended", ended.thread.name if ended.thread else "?", exc_info=ended.exc_value)
