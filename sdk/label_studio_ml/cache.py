"""A small store of strings per project, kept on disk so that worker processes share it and a restart remembers it.

Losing it is never worth a failed request: while the disk can't be used, values are kept in memory instead.
"""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from label_studio_ml.sqlite_cache import SQLiteCache

logger = logging.getLogger(__name__)

FILE_NAME = "cache.db"


class Cache(Protocol):
    """Strings under a project and a key."""

    def get(self, project: str, key: str) -> str | None:
        """Return the value, or None where there is none."""

    def set(self, project: str, key: str, value: str) -> None:
        """Keep the value, in the place of an earlier one."""

    def get_all(self, project: str, *keys: str) -> tuple[str | None, ...]:
        """Return the values of several keys at the same moment."""

    def set_all(self, project: str, values: Mapping[str, str]) -> None:
        """Keep several values together: a reader gets all of them or none."""

    def has(self, project: str, key: str) -> bool:
        """Tell whether there is a value."""

    def by_project(self, key: str) -> dict[str, str]:
        """Return the value of each project that has one under this key."""


class MemoryCache:
    """A cache of this process alone, forgotten when it ends."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def get(self, project: str, key: str) -> str | None:
        """Return the value, or None where there is none."""
        return self._entries.get((project, key))

    def set(self, project: str, key: str, value: str) -> None:
        """Keep the value, in the place of an earlier one."""
        self.set_all(project, {key: value})

    def get_all(self, project: str, *keys: str) -> tuple[str | None, ...]:
        """Return the values of several keys at the same moment."""
        with self._lock:
            return tuple(self._entries.get((project, key)) for key in keys)

    def set_all(self, project: str, values: Mapping[str, str]) -> None:
        """Keep several values together: a reader gets all of them or none."""
        with self._lock:
            self._entries.update({(project, key): value for key, value in values.items()})

    def has(self, project: str, key: str) -> bool:
        """Tell whether there is a value."""
        return (project, key) in self._entries

    def by_project(self, key: str) -> dict[str, str]:
        """Return the value of each project that has one under this key."""
        return {project: value for (project, name), value in self._entries.copy().items() if name == key}


def default_directory() -> Path:
    """Return where the cache lives: ``MODEL_DIR``, else the user's own directory for caches.

    Raises:
        RuntimeError: ``MODEL_DIR`` isn't set and the user has no home directory.
    """
    if model_dir := os.environ.get("MODEL_DIR"):
        return Path(model_dir).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "label-studio-ml"


def create_cache(type: str = "sqlite", path: str | os.PathLike[str] | None = None) -> Cache:
    """Make a cache.

    Args:
        type: ``sqlite`` (kept in the file ``cache.db``) or ``memory``.
        path: The directory of the file; by default ``default_directory()``.

    Raises:
        ValueError: No such type.
    """
    if type == "memory":
        return MemoryCache()
    if type != "sqlite":
        raise ValueError(f"There is no cache of type {type!r}; the types are 'sqlite' and 'memory'")
    try:
        directory = default_directory() if path is None else Path(path)
    except RuntimeError as error:
        logger.warning("The cache stays in memory: %s Set MODEL_DIR to a directory to keep it.", error)
        return MemoryCache()
    return SQLiteCache(directory / FILE_NAME)


_shared: dict[str | None, Cache] = {}
_shared_lock = threading.Lock()


def shared_cache(path: str | os.PathLike[str] | None = None) -> Cache:
    """Return the cache of a directory, one per process; by default that of the current ``default_directory()``."""
    try:
        directory = str((default_directory() if path is None else Path(path)).absolute())
    except RuntimeError:
        directory = None
    with _shared_lock:
        if directory not in _shared:
            _shared[directory] = create_cache("sqlite", directory)
        return _shared[directory]
