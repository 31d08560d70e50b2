"""A limited resource that all threads share, such as memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """An amount of which threads reserve parts, first come, first served."""

    def __init__(self, amount: float) -> None:
        self._amount = amount
        self._free = amount
        self._turn = threading.Lock()
        self._released = threading.Condition()

    @contextmanager
    def reserved(self, part: float) -> Iterator[None]:
        """Wait until a part is free, and reserve it for as long as the context lasts; at most the whole amount."""
        part = min(part, self._amount)
        # The first thread waits inside, so that small parts can't starve a large one.
        with self._turn, self._released:
            self._released.wait_for(lambda: self._free >= part)
            self._free -= part
        try:
            yield
        finally:
            with self._released:
                self._free += part
                self._released.notify()
