"""Who must wait, and for how long."""

from __future__ import annotations

import pytest
from label_studio_ml.limits import Guard, RateLimit, neighbourhood


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_so_many_per_second() -> None:
    clock = Clock()
    limit = RateLimit(burst=3, per_second=2, clock=clock)
    assert [limit.count("a") for _ in range(3)] == [0, 0, 0]
    assert limit.count("a") == limit.wait("a") == 0.5
    assert limit.count("b") == 0
    clock.now += 0.5
    assert limit.count("a") == 0
    assert limit.wait("a") > 0
    clock.now += 1000
    assert [limit.count("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_memory_is_bounded() -> None:
    limit = RateLimit(burst=1, per_second=1, clock=Clock())
    for number in range(20_000):
        limit.count(str(number))
    assert len(limit._left) == 10_000
    guard = Guard()
    for number in range(20_000):
        guard.succeeded(str(number))
    assert len(guard._known) == 10_000


def test_who_guesses_must_wait_and_who_knows_never() -> None:
    clock = Clock()
    guard = Guard(clock=clock)
    guard.succeeded("label studio")
    assert [guard.failed("guesser") for _ in range(10)] == [False] * 9 + [True]
    assert guard.wait("guesser") == pytest.approx(6)
    clock.now += 6
    assert guard.wait("guesser") == 0
    assert guard.failed("guesser")
    assert not any(guard.failed("label studio") for _ in range(100))
    assert guard.wait("label studio") == guard.wait("somebody else") == 0


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
def test_an_ipv6_network_is_one_client(address: str | None, expected: str) -> None:
    assert neighbourhood(address) == expected
