"""How often somebody may do something."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_REMEMBERED = 10_000


class RateLimit:
    """Allows each key so many events at once, and so many per second after that. Safe to use from several threads.

    The keys that were used last are remembered, 10,000 of them.

    Args:
        burst: Events that may come at once.
        per_second: Events that may come in the long run.
        clock: The time in seconds.
    """

    def __init__(self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # events that are left, and when that was

    def wait(self, key: str) -> float:
        """Return the seconds until the next event is allowed; 0 if it is now."""
        with self._lock:
            return max(0.0, (1 - self._left_now(key)) / self._per_second)

    def count(self, key: str) -> float:
        """Count an event, if it is allowed; return what ``wait`` returned before it."""
        with self._lock:
            left = self._left_now(key)
            if left < 1:
                return (1 - left) / self._per_second
            self._left[key] = left - 1, self._clock()
            self._left.move_to_end(key)
            while len(self._left) > _REMEMBERED:
                self._left.popitem(last=False)
            return 0.0

    def _left_now(self, key: str) -> float:
        left, then = self._left.get(key, (float(self._burst), 0.0))
        return min(self._burst, left + (self._clock() - then) * self._per_second)


class Guard:
    """Slows down who tries passwords. Safe to use from several threads.

    Each address has ten wrong ones, and one more every six seconds; what comes too early isn't even looked at. An address
    that the right one came from is never told to wait: it is Label Studio's, and others may share it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = RateLimit(burst=10, per_second=1 / 6, clock=clock)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str) -> float:
        """Return the seconds until this address may try again; 0 if it may now."""
        with self._lock:
            if address in self._known:
                return 0.0
        return self._failures.wait(address)

    def failed(self, address: str) -> bool:
        """Take notice of a wrong password; tell whether this address must wait now."""
        self._failures.count(address)
        return self.wait(address) > 0

    def succeeded(self, address: str) -> None:
        """Take notice of the right one."""
        with self._lock:
            self._known[address] = None
            self._known.move_to_end(address)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def neighbourhood(address: str | None) -> str:
    """Return what stands for the client at an address: of IPv6 the network, since each client has all of one."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
