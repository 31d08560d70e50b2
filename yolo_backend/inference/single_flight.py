"""What is expensive to make and is kept in memory while it is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SingleFlightLRU(Generic[Key, Value]):
    """Values made once for each key; the least recently used one is dropped first. Safe to use from several threads.

    Of several threads that want a missing value one makes it; those that want another don't wait.
    """

    def __init__(self, maxsize: int, on_insert: Callable[[Sequence[Key]], None] = lambda dropped: None) -> None:
        """Keep at most ``maxsize`` values; ``on_insert`` is called after each new one, with the keys that were dropped."""
        self._on_insert = on_insert
        self._values: LRUCache[Key, Value] = LRUCache(maxsize)
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made if it isn't there. What ``make`` raises is raised here, and nothing is kept."""
        with self._lock:
            if key in self._values:
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            value = make()
            with self._lock:
                before = set(self._values)
                self._values[key] = value
                self._making.pop(key, None)
                dropped = sorted(before.difference(self._values), key=str)
        self._on_insert(dropped)
        return value

    def items(self) -> list[tuple[Key, Value]]:
        """Return what is kept."""
        with self._lock:
            return list(self._values.items())
