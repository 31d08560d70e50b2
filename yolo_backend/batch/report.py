"""The progress of a run, for people: a bar on a terminal, else lines, and a summary at the end."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from yolo_backend.batch.run import Report

LINE_INTERVAL = 10.0  # seconds between two lines without a terminal
MAX_NAMED_TASKS = 10  # for each reason


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} tasks/s" if speed else "")


class ProgressReport:
    """Shows how many tasks are done, how fast, and how long the rest will take."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._started = self._last_line = time.monotonic()
        self._expected = self._done = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._bar = self._progress.add_task("Predicting", total=None)

    def __enter__(self) -> ProgressReport:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, tasks: int) -> None:
        """See `run.Progress`."""
        self._started = self._last_line = time.monotonic()
        self._expected = tasks
        self._progress.update(self._bar, total=tasks)

    def advance(self, tasks: int = 1) -> None:
        """See `run.Progress`."""
        with self._lock:
            self._done += tasks
            self._progress.advance(self._bar, tasks)
            now = time.monotonic()
            if self._console.is_terminal or now - self._last_line < LINE_INTERVAL:
                return
            self._last_line = now
            rate = self._done / (now - self._started)
        remaining = f", {(self._expected - self._done) / rate:.0f} s left" if rate > 0 else ""
        self._console.print(f"{self._done} of {self._expected} tasks, {rate:.1f} tasks/s{remaining}", highlight=False)

    def retry(self, tasks: int) -> None:
        """See `run.Progress`."""
        with self._lock:
            self._done -= tasks
            self._progress.advance(self._bar, -tasks)


def reasons(failures: Mapping[Any, str]) -> Iterable[str]:
    """Return why tasks failed, a line for each reason, the most frequent first.

    Args:
        failures: Reasons by the tasks' ids or names.
    """
    # A reason begins with the name of the file, which differs for every task.
    by_reason: dict[str, list[tuple[int | str, str]]] = defaultdict(list)
    for task, reason in failures.items():
        by_reason[reason.partition(": ")[2] or reason].append((task, reason))
    for reason, tasks in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        named = (
            ", ".join(str(task) for task, _ in sorted(tasks, key=str)[:MAX_NAMED_TASKS])
            if len(tasks) > 1
            else tasks[0][0]
        )
        more = f" and {len(tasks) - MAX_NAMED_TASKS} more" if len(tasks) > MAX_NAMED_TASKS else ""
        yield f"{len(tasks):6}  {tasks[0][1] if len(tasks) == 1 else reason} ({named}{more})"


def summary(title: str, report: Report) -> Iterable[str]:
    """Return the lines that sum up a run."""
    rate = f" ({report.saved / report.seconds:.1f} tasks/s)" if report.seconds else ""
    yield f"{title}:"
    yield f"{report.saved:6}  predicted in {report.seconds:.1f} s{rate}, with {report.regions} regions"
    if report.skipped:
        yield f"{report.skipped:6}  skipped: predicted elsewhere meanwhile, or deleted"
    remaining = report.expected - report.saved - report.skipped - len(report.failures)
    if remaining > 0:
        yield f"{remaining:6}  not done"
    if report.failures:
        yield f"{len(report.failures):6}  failed:"
        yield from (f"  {line}" for line in reasons(report.failures))
