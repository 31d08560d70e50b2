"""Something of which there is so much for all threads together, such as memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """An amount that threads take parts of, in the order in which they come."""

    def __init__(self, amount: float) -> None:
        self._amount = amount
        self._left = amount
        self._is_next = threading.Lock()
        self._given_back = threading.Condition()

    @contextmanager
    def taken(self, part: float) -> Iterator[None]:
        """Wait until a part is there, and have it for as long as the context lasts; of more than all, all is taken."""
        part = min(part, self._amount)
        # The first in line waits inside, so that a large part isn't held up by small ones for ever.
        with self._is_next, self._given_back:
            self._given_back.wait_for(lambda: self._left >= part)
            self._left -= part
        try:
            yield
        finally:
            with self._given_back:
                self._left += part
                self._given_back.notify()
