"""What is expensive to make and is kept in memory while it is used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LastUsed(Generic[Key, Value]):
    """Values made once for each key; the one not used for longest is dropped first. Safe to use from several threads."""

    def __init__(self, most: int, changed: Callable[[Sequence[Key]], None] = lambda dropped: None) -> None:
        """Keep at most ``most`` values; ``changed`` is called with the keys that were dropped when there is another one."""
        self._most = most
        self._changed = changed
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key. Of several who ask at once one makes it, and those who want another don't wait."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
                self._making.pop(key, None)
                dropped = [self._values.popitem(last=False)[0] for _ in range(len(self._values) - self._most)]
        self._changed(dropped)
        return value

    def items(self) -> list[tuple[Key, Value]]:
        """Return what is kept, the one not used for longest first."""
        with self._lock:
            return list(self._values.items())
