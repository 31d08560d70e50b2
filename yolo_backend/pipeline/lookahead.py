"""Work that is started ahead of its consumer, within a window."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    pass


Made = TypeVar("Made")
Key = TypeVar("Key")


def as_completed_ahead(
    begun: Iterator[tuple[Key, Future[Made]]], *, window: int
) -> Generator[tuple[Key, Future[Made]], None, None]:
    """Yield futures with their keys as they are done.

    Args:
        begun: the work behind a future begins when it is taken from here.
        window: so many are taken at most that aren't done, or done and not yet yielded.
    """
    done: SimpleQueue[Future[Made]] = SimpleQueue()
    waiting: dict[Future[Made], Key] = {}
    try:
        while True:
            for key, future in islice(begun, window - len(waiting)):
                waiting[future] = key
                future.add_done_callback(done.put)
            if not waiting:
                return
            future = done.get()
            yield waiting.pop(future), future
    finally:
        for future in waiting:
            future.cancel()
