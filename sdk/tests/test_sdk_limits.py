"""Limits per client: how long it must wait."""

from __future__ import annotations

import pytest
from label_studio_ml.limits import PasswordGuard, RateLimit, client_network


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_burst_and_rate() -> None:
    clock = Clock()
    limit = RateLimit(burst=3, per_second=2, clock=clock)
    assert [limit.hit("a") for _ in range(3)] == [0, 0, 0]
    assert limit.hit("a") == limit.delay("a") == 0.5
    assert limit.hit("b") == 0
    clock.now += 0.5
    assert limit.hit("a") == 0
    assert limit.delay("a") > 0
    clock.now += 1000
    assert [limit.hit("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_memory_is_bounded() -> None:
    limit = RateLimit(burst=1, per_second=1, clock=Clock())
    for number in range(20_000):
        limit.hit(str(number))
    assert len(limit._left) == 10_000
    guard = PasswordGuard()
    for number in range(20_000):
        guard.succeeded(str(number))
    assert len(guard._known) == 10_000


def test_guessing_clients_wait_and_known_ones_never() -> None:
    clock = Clock()
    guard = PasswordGuard(clock=clock)
    guard.succeeded("label studio")
    assert [guard.failed("guesser") for _ in range(10)] == [False] * 9 + [True]
    assert guard.delay("guesser") == pytest.approx(6)
    clock.now += 6
    assert guard.delay("guesser") == 0
    assert guard.failed("guesser")
    assert not any(guard.failed("label studio") for _ in range(100))
    assert guard.delay("label studio") == guard.delay("somebody else") == 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
        ("unix:", "unix:"),
    ],
)
def test_client_network(address: str | None, expected: str) -> None:
    assert client_network(address) == expected
