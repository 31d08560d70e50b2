"""One prediction per task and model version: who computes it, and whether Label Studio was given it.

The states of a key, and the calls that lead from one to another; docs/operations.md explains them::

    free ──begin──> computing ──settle──> answered ──(lost, or time)──> free
                      │    ^
             begin_post    release
                      v    │
                     posting ──posted──> posted ──(lost, or time)──> free

Computing only keeps workers from doing the same work. What counts is that `settle` and `begin_post` exclude each other:
each is one transaction, and whoever comes first gives the prediction to Label Studio.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

import psutil
from cachetools import TTLCache

# Label Studio looks which tasks lack a prediction, asks for those, and saves every answer, even if a task has got a
# prediction in between. How long that may take, in seconds:
PAIR_SECONDS = 1.0
"""Between the two requests by which Label Studio opens a task. Two workers may both compute it."""
SAVE_SECONDS = 5.0
"""From an answer, or the start of a post, until it is saved. What isn't saved by then is lost."""
CLICK_SECONDS = 10.0
"""From the look at the tasks until the request arrives here."""


class PredictionKey(NamedTuple):
    """What Label Studio should hold exactly one prediction for."""

    url: str | None
    project: str | None
    task: int
    version: str


class Entry(NamedTuple):
    """The state of a key, the process that brought it about, since when, and the arrival of the request it was for."""

    state: Literal["computing", "answered", "posting", "posted"]
    worker: int
    since: float
    arrived: float


Entries = MutableMapping[PredictionKey, Entry]


class PredictionLedger:
    """The ledger of one process, in memory. Thread-safe.

    Args:
        longest_wait: seconds for which a request waits at most.
        worker: the id of this process.
        clock: seconds, the same in all processes of the machine.
        is_alive: tells whether a process lives; what one was computing or posting is free when it doesn't.
    """

    def __init__(
        self,
        *,
        longest_wait: float = 90.0,
        worker: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        is_alive: Callable[[int], bool] = psutil.pid_exists,
    ) -> None:
        self._worker = os.getpid() if worker is None else worker
        self._clock = clock
        self._is_alive = is_alive
        # Longer than a request waits that arrived before an answer or a post.
        self._remembered = 2 * longest_wait + SAVE_SECONDS + CLICK_SECONDS
        self._lock = threading.Lock()
        self._entries: Entries = TTLCache(maxsize=float("inf"), ttl=self._remembered, timer=clock)

    def begin(self, keys: Collection[PredictionKey], arrived: float, *, single: bool) -> set[PredictionKey]:
        """Take predictions on for a request, for a ``single`` task or several; return those that another worker has."""
        elsewhere = set()
        with self._transaction(keys) as entries:
            for key in keys:
                entry = entries.get(key)
                if entry and entry.worker != self._worker and self._is_under_way(entry):
                    if not (single and _may_be_pair(entry, arrived)):
                        elsewhere.add(key)
                elif not (entry and _was_given(entry, arrived)):
                    entries[key] = Entry("computing", self._worker, arrived, arrived)
        return elsewhere

    def settle(
        self, keys: Collection[PredictionKey], arrived: float, *, single: bool
    ) -> tuple[set[PredictionKey], dict[PredictionKey, float]]:
        """Decide what becomes of predictions that are computed, right before a request is answered.

        Returns:
            Those to answer with. And those that Label Studio was given at the times in the values, and may have saved or
            not: it has to be asked, and told to `lost` what it lacks. All others are left out of the answer.
        """
        answers: set[PredictionKey] = set()
        doubtful: dict[PredictionKey, float] = {}
        with self._transaction(keys) as entries:
            for key in keys:
                entry = entries.get(key)
                if not (entry and _was_given(entry, arrived)):
                    entries[key] = Entry("answered", self._worker, self._clock(), arrived)
                    answers.add(key)
                elif not self._is_under_way(entry) and (
                    entry.since <= arrived or (single and _may_be_pair(entry, arrived))
                ):
                    doubtful[key] = entry.since
        return answers, doubtful

    def lost(self, given: Mapping[PredictionKey, float]) -> None:
        """Free predictions that were ``given`` to Label Studio at these times, but have not been saved."""
        with self._transaction(given) as entries:
            for key, since in given.items():
                if (entry := entries.get(key)) and entry.since == since:
                    del entries[key]

    def begin_post(self, key: PredictionKey) -> bool:
        """Tell whether a prediction is to be posted now: not if Label Studio was given it otherwise a moment ago."""
        now = self._clock()
        with self._transaction([key]) as entries:
            entry = entries.get(key)
            is_retry = entry and entry.state == "posting" and entry.worker == self._worker
            if entry and _was_given(entry, now) and not is_retry:
                return False
            entries[key] = Entry("posting", self._worker, now, now)
            return True

    def posted(self, key: PredictionKey) -> None:
        """Note that Label Studio holds a prediction now."""
        with self._transaction([key]) as entries:
            entries[key] = Entry("posted", self._worker, self._clock(), self._clock())

    def release(self, keys: Collection[PredictionKey], arrived: float | None = None) -> None:
        """Free what this worker was computing or posting, for all requests or for the one that ``arrived`` then."""
        with self._transaction(keys) as entries:
            for key in keys:
                entry = entries.get(key)
                is_own = entry and entry.worker == self._worker and entry.state in ("computing", "posting")
                if is_own and (arrived is None or entries[key].arrived == arrived):
                    del entries[key]

    def _is_under_way(self, entry: Entry) -> bool:
        return entry.state in ("computing", "posting") and self._is_alive(entry.worker)

    @contextmanager
    def _transaction(self, keys: Collection[PredictionKey]) -> Iterator[Entries]:
        """Give the entries of these keys, which nobody else changes meanwhile."""
        with self._lock:
            yield self._entries


def _was_given(entry: Entry, arrived: float) -> bool:
    """Tell whether Label Studio may have got a prediction after it had made the request that ``arrived``."""
    return entry.state != "computing" and arrived < entry.since + SAVE_SECONDS + CLICK_SECONDS


def _may_be_pair(entry: Entry, arrived: float) -> bool:
    """Tell whether Label Studio may have opened the task by the entry's request and the one that ``arrived``."""
    return abs(entry.arrived - arrived) <= PAIR_SECONDS
