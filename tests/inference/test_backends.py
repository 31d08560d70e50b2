"""Pictures of several callers at once: PyTorch takes those who wait along, OpenVINO has one on each core."""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from yolo_backend.inference.backends.base import Outputs
from yolo_backend.inference.backends.ultralytics import UltralyticsBackend, _device_locks
from yolo_backend.inference.single_flight import SingleFlightLRU
from yolo_backend.settings import BUNDLED_MODELS

SHAPE = (64, 96, 3)


class Counting(UltralyticsBackend):
    """Notes its batches, and runs out of memory with more than ``most`` pictures or on a white one."""

    most = 100

    def __init__(self, batch_size: int) -> None:
        super().__init__(BUNDLED_MODELS / "demo-detect.pt", "cpu", batch_size=batch_size)
        self.batches: list[int] = []

    def _outputs(self, pictures: Sequence[np.ndarray]) -> list[Outputs]:
        self.batches.append(len(pictures))
        if len(pictures) > self.most or any(picture.min() == 255 for picture in pictures):
            raise RuntimeError("out of memory")
        return super()._outputs(pictures)


@contextmanager
def asked_at_once(network: Counting, pictures: Sequence[np.ndarray]) -> Iterator[list[Future[Outputs]]]:
    """Have all pictures wait for the device, then set it free."""
    with ThreadPoolExecutor(len(pictures)) as pool:
        with _device_locks["cpu"]:
            futures = [pool.submit(network.infer, picture) for picture in pictures]
            while sum(map(len, network._waiting.values())) < len(pictures):
                time.sleep(0.001)
        yield futures


def random_pictures(count: int, shape: tuple[int, int, int] = SHAPE) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 255, shape, np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "batch_size", "batches"), [(1, 4, [1]), (3, 4, [3]), (4, 4, [4]), (9, 4, [1, 4, 4]), (3, 1, [1, 1, 1])]
)
def test_those_who_wait_go_together(count: int, batch_size: int, batches: list[int]) -> None:
    network = Counting(batch_size)
    pictures = random_pictures(count)
    with asked_at_once(network, pictures) as futures:
        together = [future.result(30) for future in futures]
    assert sorted(network.batches) == batches
    for picture, outputs in zip(pictures, together, strict=True):
        assert outputs[0] == pytest.approx(network.infer(picture)[0], abs=1e-2)


def test_only_pictures_of_one_shape_go_together() -> None:
    network = Counting(batch_size=8)
    with asked_at_once(network, [*random_pictures(3), *random_pictures(2, (96, 64, 3))]) as futures:
        shapes = {future.result(30)[0].shape for future in futures}
    assert sorted(network.batches) == [2, 3]
    assert len(shapes) == 1  # of 64 x 96 and 96 x 64 pixels as many boxes


@pytest.mark.parametrize(("most", "broken"), [(1, []), (2, []), (100, [2]), (100, [0, 4]), (1, [0, 1, 2, 3, 4])])
def test_a_batch_that_fails_is_tried_in_halves(most: int, broken: list[int], caplog: pytest.LogCaptureFixture) -> None:
    network = Counting(batch_size=8)
    network.most = most
    pictures = [np.full(SHAPE, 255, np.uint8) if n in broken else one for n, one in enumerate(random_pictures(5))]
    with asked_at_once(network, pictures) as futures:
        failed = [n for n, future in enumerate(futures) if future.exception(30) is not None]
    assert failed == broken
    assert "A batch of 5 failed and is tried again in halves: out of memory" in caplog.text


def test_of_several_who_ask_one_makes_it() -> None:
    made: list[str] = []
    kept: SingleFlightLRU[str, object] = SingleFlightLRU(2)

    def make() -> object:
        made.append("x")
        time.sleep(0.05)
        return object()

    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(lambda _: kept.get("x", make), range(8)))
    assert len(values) == len(made) == 1


def test_the_one_not_used_for_longest_is_dropped() -> None:
    dropped: list[int] = []
    kept: SingleFlightLRU[int, int] = SingleFlightLRU(2, dropped.extend)
    for key in (1, 2, 1, 3, 1, 4):
        assert kept.get(key, partial(operator.neg, key)) == -key
    assert dropped == [2, 3]
    assert kept.items() == [(1, -1), (4, -4)]


def test_what_can_not_be_made_is_tried_again_and_holds_up_nobody_else() -> None:
    kept: SingleFlightLRU[str, int] = SingleFlightLRU(2)
    begun, released = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        released.wait(30)
        raise ValueError("no")

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(kept.get, "slow", slow)
        begun.wait(30)
        assert kept.get("quick", lambda: 1) == 1
        released.set()
        assert isinstance(failing.exception(30), ValueError)
    assert kept.get("slow", lambda: 2) == 2
