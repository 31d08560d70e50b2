"""A cache in a SQLite file."""

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from cachetools import LRUCache
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Label Studio gives /setup 3 seconds, so a locked file may not cost more than part of that.
_BUSY_SECONDS = 1.0
# While the disk fails, requests don't all pay for trying again.
_RETRY_SECONDS = 60.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entry (project TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "
    "at REAL NOT NULL DEFAULT 0, PRIMARY KEY (project, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS seen (project TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
)

# Any client can invent projects without end. A real one that is forgotten is back with its next /setup.
MAX_PROJECTS = 1000
MAX_IN_MEMORY = 64_000_000  # characters
_SEEN_AGAIN = 600.0  # seconds after which the file gets to know that a project is still in use


class SQLiteCache:
    """A cache in a SQLite file, shared by threads, worker processes and restarts.

    The file is opened on first use, and again in a process that was forked after that. It can be read by its owner
    alone, since access tokens are kept in it. A disk that is full, read-only or broken costs the persistence only:
    one warning, and values stay in memory until the file can be used again. Then they are written to it, unless it
    has got newer ones meanwhile.

    Args:
        path: The file; its directory is made where it is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection: sqlite3.Connection | None = None
        self.path = Path(path)
        self._lock = threading.Lock()
        # What this process wrote or read last; it stands in for the file while that fails.
        self._known: LRUCache[tuple[str, str], str] = LRUCache(MAX_IN_MEMORY, getsizeof=len)
        self._unsaved: dict[tuple[str, str], float] = {}  # keys whose value isn't in the file yet, and when it was set
        self._failed_at: float | None = None
        _open_caches.add(self)

    def get(self, project: str, key: str) -> str | None:
        """Return the value, or None where there is none."""
        return self.get_all(project, key)[0]

    def set(self, project: str, key: str, value: str) -> None:
        """Keep the value, in the place of an earlier one."""
        self.set_all(project, {key: value})

    def get_all(self, project: str, *keys: str) -> tuple[str | None, ...]:
        """Return the values of several keys at the same moment."""
        with self._lock:
            marks = ", ".join("?" * len(keys))
            rows = self._execute(
                f"SELECT key, value, at FROM entry WHERE project = ? AND key IN ({marks})", project, *keys
            )
            if rows is None:
                return tuple(self._known.get((project, key)) for key in keys)
            in_file = {key: (value, at) for key, value, at in rows}
            return tuple(self._newest(project, key, *in_file.get(key, (None, 0.0))) for key in keys)

    def set_all(self, project: str, values: Mapping[str, str]) -> None:
        """Keep several values together: a reader gets all of them or none."""
        with self._lock:
            for key, value in values.items():
                self._remember(project, key, value)
                self._unsaved[project, key] = time.time()
            if self._save():
                self._forget_others(project)

    def has(self, project: str, key: str) -> bool:
        """Tell whether there is a value."""
        return self.get(project, key) is not None

    def by_project(self, key: str) -> dict[str, str]:
        """Return the value of each project that has one under this key."""
        with self._lock:
            rows = self._execute("SELECT project, value, at FROM entry WHERE key = ?", key)
            if rows is None:
                return {project: value for (project, name), value in self._known.items() if name == key}
            in_file = {project: (value, at) for project, value, at in rows}
            projects = in_file.keys() | {project for project, name in self._unsaved if name == key}
            newest = {project: self._newest(project, key, *in_file.get(project, (None, 0.0))) for project in projects}
        return {project: value for project, value in newest.items() if value is not None}

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._disconnect()

    def __del__(self) -> None:
        """Close the file of a cache that is no longer used."""
        self._disconnect()

    def _newest(self, project: str, key: str, in_file: str | None, at: float) -> str | None:
        """Return the value from the file, or a newer one that could not be written to it."""
        set_at = self._unsaved.get((project, key))
        if set_at is not None and set_at >= at:
            return self._known.get((project, key))
        self._unsaved.pop((project, key), None)
        self._remember(project, key, in_file)
        return in_file

    def _remember(self, project: str, key: str, value: str | None) -> None:
        self._known.pop((project, key), None)
        if value is not None and len(value) <= MAX_IN_MEMORY:
            self._known[project, key] = value

    def _save(self) -> bool:
        """Write what isn't in the file yet: all of it, or nothing if the file can't be used now."""
        self._unsaved = {name: at for name, at in self._unsaved.items() if name in self._known}
        entries = [(*name, self._known[name], at) for name, at in self._unsaved.items()]

        def write(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            # The condition spares the disk a write of what it already holds: /setup repeats itself all day.
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, "
                "at = excluded.at WHERE value <> excluded.value AND at <= excluded.at",
                entries,
            )
            connection.execute("COMMIT")
            return True

        if not self._try(write):
            return False
        self._unsaved.clear()
        return True

    def _forget_others(self, project: str) -> None:
        """Remove the projects that were used the longest ago, if there are too many."""
        self._execute(
            "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at > at + ?",
            *(project, time.time(), _SEEN_AGAIN),
        )
        rows = self._execute("SELECT project FROM seen ORDER BY at DESC LIMIT -1 OFFSET ?", MAX_PROJECTS)
        for (name,) in rows or []:
            self._execute("DELETE FROM entry WHERE project = ?", name)
            self._execute("DELETE FROM seen WHERE project = ?", name)
            for known in [known for known in self._known if known[0] == name]:
                del self._known[known]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _execute(self, statement: str, *parameters: str | float) -> list[tuple[Any, ...]] | None:
        """Run a statement and return its rows; None when the file can't be used now."""
        return self._try(lambda connection: connection.execute(statement, parameters).fetchall())

    def _try(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Do something with the file; None when it can't be used now. Call it with the lock held."""
        if self._failed_at is not None and time.monotonic() < self._failed_at + _RETRY_SECONDS:
            return None
        try:
            if self._connection is None:
                self._connection = _connect(self.path)
            result = work(self._connection)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return None
        if self._failed_at is not None:
            logger.info("The cache %s can be used again", self.path)
            self._failed_at = None
        return result

    def _give_up(self, error: Exception) -> None:
        """Go on without the file for a while, and say so the first time."""
        if self._failed_at is None:
            logger.warning(
                "The cache %s can't be used (%s), so its values stay in the memory of this process; "
                "make the directory writable, or delete the file if it is damaged",
                self.path,
                error,
            )
        self._failed_at = time.monotonic()
        self._disconnect()

    def _forget_after_fork(self) -> None:
        """Start afresh in a forked child: neither the lock nor the connection may be used there."""
        if self._connection is not None:
            # Not closed: closing would run SQLite's clean-up on files that the parent still uses.
            _abandoned.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()


_open_caches: "weakref.WeakSet[SQLiteCache]" = weakref.WeakSet()
_abandoned: list[sqlite3.Connection] = []


def _forget_connections_after_fork() -> None:
    for cache in list(_open_caches):
        cache._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections_after_fork)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, made where it is missing, readable by its owner alone."""
    for directory in (*reversed(path.parent.parents), path.parent):
        directory.mkdir(0o700, exist_ok=True)
    # Made here and not by SQLite, so that there is no moment at which others could open it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            path.chmod(0o600)
    finally:
        os.close(descriptor)
    # Guarded by the cache's lock, so threads may share it.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        write_ahead(connection, _BUSY_SECONDS)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        if "at" not in {column[1] for column in connection.execute("PRAGMA table_info(entry)")}:
            # The file of release 0.1.0.
            connection.execute("ALTER TABLE entry ADD COLUMN at REAL NOT NULL DEFAULT 0")
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Let readers go on while another process writes.

    If several processes ask for that in a new file at the same moment, SQLite refuses some at once, whatever the timeout.

    Args:
        connection: To the file.
        seconds: For how long others may keep it locked.

    Raises:
        sqlite3.Error: The file can't be used, or is locked for longer.
    """
    is_locked = retry_if_exception(lambda error: isinstance(error, sqlite3.OperationalError) and "locked" in str(error))
    again = Retrying(retry=is_locked, stop=stop_after_delay(seconds), wait=wait_fixed(0.01), reraise=True)
    again(connection.execute, "PRAGMA journal_mode = WAL")
