"""What workers tell each other through a file."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yolo_backend.serving.ledger import Claims, Delivery

DELIVERY = Delivery(url=None, project="1", task=1, version="a")


def test_workers_that_start_at_once_share_a_new_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin = threading.Barrier(6)

    def taken(number: int) -> bool:
        claims = Claims(str(tmp_path / f"{number // begin.parties}"))
        begin.wait()
        # Requests so far apart that one of them is to see to it.
        return not claims.take([DELIVERY], time.monotonic() + 10 * number)

    rounds = 20
    with ThreadPoolExecutor(begin.parties) as pool:
        assert sum(pool.map(taken, range(rounds * begin.parties))) == rounds
    assert not caplog.records
