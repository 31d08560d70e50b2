"""The ledger of several worker processes, in an SQLite file."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from label_studio_ml.sqlite_cache import write_ahead

from yolo_backend.private_files import make_file
from yolo_backend.serving.ledger import Entries, Entry, PredictionKey, PredictionLedger

logger = logging.getLogger(__name__)

FILE_VARIABLE = "YOLO_BACKEND_LEDGER"
"""Environment variable that names the file. gunicorn_hooks sets it where there are several workers."""
BUSY_SECONDS = 2.0  # for which another worker may keep the file locked
SCHEMA = """
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS entry (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, worker INTEGER NOT NULL, since REAL NOT NULL, arrived REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS given ON entry (since) WHERE state != 'computing';
"""


class SharedPredictionLedger(PredictionLedger):
    """The ledger of all worker processes of a machine, in an SQLite file.

    If the file is unusable only de-duplication among workers is lost: each goes on with a ledger of its own.
    """

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(**options)
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __del__(self) -> None:
        """Close the file."""
        if self._connection:
            self._connection.close()

    @contextmanager
    def _transaction(self, keys: Collection[PredictionKey]) -> Iterator[Entries]:
        with self._lock:
            try:
                before = self._read(keys)
            except (sqlite3.Error, OSError) as error:
                self._warn(error)
                yield self._entries
                return
            after = dict(before)
            yield after
            try:
                self._write(before, after)
            except (sqlite3.Error, OSError) as error:
                self._warn(error)

    def _read(self, keys: Collection[PredictionKey]) -> dict[PredictionKey, Entry]:
        """Begin a transaction; return the entries of these keys."""
        self._connection = self._connection or _connect(self._path)
        self._connection.rollback()  # of one that failed
        self._connection.execute("BEGIN IMMEDIATE")
        select = "SELECT state, worker, since, arrived FROM entry WHERE key = ?"
        rows = ((key, self._connection.execute(select, (repr(key),)).fetchone()) for key in keys)
        return {key: Entry(*row) for key, row in rows if row}

    def _write(self, before: Mapping[PredictionKey, Entry], after: Mapping[PredictionKey, Entry]) -> None:
        """Write what has changed; end the transaction."""
        assert self._connection
        gone = [(repr(key),) for key in before.keys() - after.keys()]
        new = [(repr(key), *entry) for key, entry in after.items() if entry != before.get(key)]
        self._connection.executemany("DELETE FROM entry WHERE key = ?", gone)
        self._connection.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)", new)
        horizon = self._clock() - self._remembered
        self._connection.execute("DELETE FROM entry WHERE state != 'computing' AND since < ?", (horizon,))
        self._connection.commit()

    def _warn(self, error: Exception) -> None:
        logger.warning("Workers can't tell each other what they do: %s: %s", self._path, error)


def _connect(path: str) -> sqlite3.Connection:
    make_file(Path(path))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        write_ahead(connection, BUSY_SECONDS)
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
