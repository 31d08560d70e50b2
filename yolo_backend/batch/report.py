"""How a run goes, for people: a bar on a terminal, lines elsewhere, and a summary at the end."""

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

EVERY = 10.0  # seconds between two lines where there is no terminal
LISTED_TASKS = 10  # tasks that are named for one reason


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} tasks/s" if speed else "")


class ProgressReport:
    """Shows on standard error how many tasks are done, how fast, and how long the rest will take."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._started = self._said = time.monotonic()
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

    def expect(self, tasks: int) -> None:
        """So many tasks are to be done."""
        self._started = self._said = time.monotonic()
        self._expected = tasks
        self._progress.update(self._bar, total=tasks)

    def done(self, tasks: int = 1) -> None:
        """So many more are done."""
        with self._lock:
            self._done += tasks
            self._progress.advance(self._bar, tasks)
            now = time.monotonic()
            if self._console.is_terminal or now - self._said < EVERY:
                return
            self._said = now
            rate = self._done / (now - self._started)
        left = f", {(self._expected - self._done) / rate:.0f} s left" if rate > 0 else ""
        self._console.print(f"{self._done} of {self._expected} tasks, {rate:.1f} tasks/s{left}", highlight=False)

    def again(self, tasks: int) -> None:
        """So many are tried once more."""
        with self._lock:
            self._done -= tasks
            self._progress.advance(self._bar, -tasks)


def reasons(failures: Mapping[Any, str]) -> Iterable[str]:
    """Say why tasks failed, a line for each reason, the most frequent first.

    Args:
        failures: reasons by the tasks' ids or names.
    """
    # What failed stands before why, and is another one for every task.
    by_reason: dict[str, list[tuple[int | str, str]]] = defaultdict(list)
    for task, reason in failures.items():
        by_reason[reason.partition(": ")[2] or reason].append((task, reason))
    for reason, tasks in sorted(by_reason.items(), key=lambda one: -len(one[1])):
        named = (
            ", ".join(str(task) for task, _ in sorted(tasks, key=str)[:LISTED_TASKS]) if len(tasks) > 1 else tasks[0][0]
        )
        more = f" and {len(tasks) - LISTED_TASKS} more" if len(tasks) > LISTED_TASKS else ""
        yield f"{len(tasks):6}  {tasks[0][1] if len(tasks) == 1 else reason} ({named}{more})"


def summary(title: str, report: Report) -> Iterable[str]:
    """Say what became of the tasks of a run."""
    rate = f" ({report.saved / report.seconds:.1f} tasks/s)" if report.seconds else ""
    yield f"{title}:"
    yield f"{report.saved:6}  predicted in {report.seconds:.1f} s{rate}, with {report.regions} regions"
    if report.needless:
        yield f"{report.needless:6}  needed none any more"
    left = report.expected - report.saved - report.needless - len(report.failures)
    if left > 0:
        yield f"{left:6}  not done"
    if report.failures:
        yield f"{len(report.failures):6}  failed:"
        yield from (f"  {line}" for line in reasons(report.failures))
