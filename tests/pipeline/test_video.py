import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from yolo_backend.controls.observer import Observer
from yolo_backend.media.video import Frame
from yolo_backend.pipeline.video import observe


class _Every(Observer):
    """Wants every n-th frame and remembers which it saw."""

    def __init__(self, step: int = 1) -> None:
        self.step = step
        self.seen: list[int] = []

    def wants(self, frame: Frame) -> bool:
        return round(frame.start) % self.step == 0

    def see(self, frame: Frame, result: Any) -> None:
        assert result == round(frame.start)  # each gets what was found on its own picture
        self.seen.append(result)

    def regions(self, duration: float) -> Iterator[dict[str, Any]]:
        yield {"step": self.step, "seen": len(self.seen), "duration": duration}


class _Model:
    """Finds the picture's number, and counts how it was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Any]:
        self.batches.append(len(pictures))
        return [int(picture[0, 0, 0]) + 256 * int(picture[0, 0, 1]) for picture in pictures]


def frames(count: int) -> Iterator[Frame]:
    for number in range(count):
        pixels = np.full((2, 2, 3), (number % 256, number // 256, 0), np.uint8)
        yield Frame(pixels=pixels, start=float(number), end=number + 1.0)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 50])
def test_everyone_sees_what_they_want_in_order(count: int) -> None:
    every, third, other = _Every(), _Every(3), _Every(10)
    detect, classify = _Model(), _Model()
    regions = observe(frames(count), [(detect, [every, third]), (classify, [other])], batch_size=4)
    assert every.seen == list(range(count))
    assert third.seen == list(range(0, count, 3))
    assert other.seen == list(range(0, count, 10))
    assert regions == [
        {"step": one.step, "seen": len(one.seen), "duration": float(count)} for one in (every, third, other)
    ]
    assert sum(detect.batches) == count
    assert sum(classify.batches) == len(other.seen)
    assert all(0 < size <= 4 for size in detect.batches + classify.batches)


def test_frames_that_nobody_wants_cost_no_batch() -> None:
    model = _Model()
    observe(frames(100), [(model, [_Every(10)])], batch_size=4)
    assert model.batches == [4, 4, 2]


def test_an_error_of_the_model_is_an_error() -> None:
    def broken(pictures: Sequence[np.ndarray]) -> list[Any]:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        observe(frames(1), [(broken, [_Every()])], batch_size=4)


def test_ten_thousand_frames_are_never_in_memory_together() -> None:
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()
    most = 0

    def watched() -> Iterator[Frame]:
        nonlocal most
        for frame in frames(10_000):
            alive.add(frame)
            most = max(most, len(alive))
            yield frame
            del frame

    gc.disable()  # nothing may wait for it
    try:
        (region,) = observe(watched(), [(_Model(), [_Every()])], batch_size=8)
    finally:
        gc.enable()
    assert region["seen"] == 10_000
    assert most <= 2 * 8 + 2
