"""How often a client may do something: token buckets.

The package `limits` has windows only, and no bound on its memory, while an attacker has any number of addresses.
"""

import ipaddress
import threading
import time
from collections.abc import Callable

from cachetools import LRUCache

MAX_CLIENTS = 10_000  # that are remembered, those that were seen last


class RateLimit:
    """Allows each client so many events at once, and so many per second in the long run. Safe to use from several threads.

    Args:
        burst: Events that may come at once.
        per_second: Events per second in the long run.
        clock: The time in seconds.
    """

    def __init__(self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        # How many events are left, and at what time that was so.
        self._left: LRUCache[str, tuple[float, float]] = LRUCache(MAX_CLIENTS)

    def delay(self, client: str) -> float:
        """Return the seconds until the client's next event is allowed; 0 if it is now."""
        with self._lock:
            return max(0.0, (1 - self._left_now(client)) / self._per_second)

    def hit(self, client: str) -> float:
        """Count an event, if it is allowed now; return what ``delay`` returned before it."""
        with self._lock:
            left = self._left_now(client)
            if left < 1:
                return (1 - left) / self._per_second
            self._left[client] = left - 1, self._clock()
            return 0.0

    def _left_now(self, client: str) -> float:
        left, then = self._left.get(client, (float(self._burst), 0.0))
        return min(self._burst, left + (self._clock() - then) * self._per_second)


class PasswordGuard:
    """Slows down clients that guess passwords. Safe to use from several threads.

    Each client has ten wrong ones, and another one every six seconds; a password that comes too early isn't even looked at.
    A client that has sent the right one never waits: it is Label Studio, whose address others may share.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = RateLimit(burst=10, per_second=1 / 6, clock=clock)
        self._known: LRUCache[str, bool] = LRUCache(MAX_CLIENTS)
        self._lock = threading.Lock()

    def delay(self, client: str) -> float:
        """Return the seconds until this client may try again; 0 if it may now."""
        with self._lock:
            if self._known.get(client):
                return 0.0
        return self._failures.delay(client)

    def failed(self, client: str) -> bool:
        """Count a wrong password; return whether this client must wait now."""
        self._failures.hit(client)
        return self.delay(client) > 0

    def succeeded(self, client: str) -> None:
        """Remember that the client knows the password."""
        with self._lock:
            self._known[client] = True


def client_network(address: str | None) -> str:
    """Return what identifies the client at an address: for IPv6 its network of 64 bits, all of which one client has."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
