"""Which of several worker processes sees to a task, so that two clicks bring no task two predictions of a version."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from label_studio_ml.sqlite_cache import write_ahead

from yolo_backend.private_files import make_file

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

SIMULTANEOUS = 1.0
"""Seconds. Label Studio asks twice at the same moment when a task is opened, and both must be answered; requests that
are further apart are two clicks, and it would save what both answer twice."""
REMEMBERED = 10.0
"""Seconds. A click that was made before a prediction was posted may arrive that much later: it must not bring a second."""
BUSY_SECONDS = 2.0  # how long a process waits for another one that writes


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One prediction for one task: what Label Studio should hold once."""

    url: str | None
    project: str | None
    task: int | None
    version: str


class Claims:
    """What each process has taken on, in a file of SQLite that all of them share. Safe to use from several threads.

    All times are `time.monotonic()`, which the processes of a machine have in common. A file that can't be used costs no
    more than what it is for.

    Args:
        path: of the file; None where there is one process alone, which needs none.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._me = uuid4().hex
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def take(self, deliveries: Collection[Delivery], arrived: float) -> set[Delivery]:
        """Take deliveries on for a request that ``arrived``; return those that another process sees to already."""

        def taken(connection: sqlite3.Connection) -> set[Delivery]:
            connection.execute("DELETE FROM claim WHERE posted < ?", (arrived - 60 * REMEMBERED,))
            others = set()
            for one in deliveries:
                row = connection.execute(
                    "SELECT process, pid, arrived, posted FROM claim WHERE delivery = ?", (repr(one),)
                ).fetchone()
                process, pid, since, posted = row or (None, 0, 0.0, None)
                if process == self._me and posted is None:
                    continue
                if process in (None, self._me) or not _holds(pid, posted, arrived):
                    connection.execute(
                        "INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?, NULL)",
                        (repr(one), self._me, os.getpid(), arrived),
                    )
                elif abs(since - arrived) > SIMULTANEOUS:
                    others.add(one)
            return others

        return self._do(taken) or set()

    def posted(self, delivery: Delivery) -> None:
        """Note that Label Studio has it now."""
        self._do(
            lambda connection: connection.execute(
                "UPDATE claim SET posted = ? WHERE delivery = ? AND process = ?",
                (time.monotonic(), repr(delivery), self._me),
            )
        )

    def release(self, deliveries: Iterable[Delivery], arrived: float | None = None) -> None:
        """Leave deliveries to whoever is asked next: they are answered, or can't be made.

        Those alone that were taken on for a request that ``arrived`` then, if it is given.
        """
        self._do(
            lambda connection: connection.executemany(
                "DELETE FROM claim WHERE delivery = ? AND process = ? AND posted IS NULL AND arrived = ifnull(?, arrived)",
                [(repr(one), self._me, arrived) for one in deliveries],
            )
        )

    def _do(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
        """Do something in one transaction; None where there is no file or it can't be used."""
        if self._path is None:
            return None
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect(self._path)
                with self._connection as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    return work(connection)
            except (sqlite3.Error, OSError) as error:
                logger.warning("Workers can't tell each other what they do: %s: %s", self._path, error)
                return None


def _connect(path: str) -> sqlite3.Connection:
    make_file(Path(path))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    write_ahead(connection, BUSY_SECONDS)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS claim (delivery TEXT PRIMARY KEY, process TEXT NOT NULL, pid INTEGER NOT NULL, "
        "arrived REAL NOT NULL, posted REAL) WITHOUT ROWID"
    )
    return connection


def _holds(pid: int, posted: float | None, now: float) -> bool:
    """Tell whether a claim still counts: it was posted a moment ago, or whoever made it is alive and at work."""
    return _is_alive(pid) if posted is None else posted > now - REMEMBERED


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
