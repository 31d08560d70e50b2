"""One pass through a video: frames to models, detections to observers, in order and in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_backend.controls.observer import Observer
from yolo_backend.media.video import Frame, read_ahead

if TYPE_CHECKING:
    from yolo_backend.inference import Detections

Predict = Callable[[Sequence[np.ndarray]], "list[Detections]"]
"""Runs a model on pictures, each (H, W, 3) uint8, BGR."""


def observe(
    frames: Iterator[Frame], groups: Sequence[tuple[Predict, Sequence[Observer]]], *, batch_size: int
) -> list[dict[str, Any]]:
    """Show a video to observers.

    Args:
        frames: of a `Video`; each is dropped as soon as it was seen.
        groups: models, each with the observers that share its results.
        batch_size: pictures that go through a model together.

    Returns:
        All regions, in the order of the observers.
    """
    observers = [observer for _, group in groups for observer in group]
    duration = 0.0

    def wanted() -> Iterator[tuple[Frame, set[Observer]]]:
        nonlocal duration
        for frame in frames:
            duration = frame.end
            wanting = {observer for observer in observers if observer.wants(frame)}
            if wanting:
                yield frame, wanting

    def looked_at() -> Generator[list[tuple[Observer, Frame, Detections]], None, None]:
        for batch in _batches(wanted(), batch_size):
            found: list[tuple[Observer, Frame, Detections]] = []
            for predict, group in groups:
                seen = [(frame, wanting) for frame, everyone in batch if (wanting := everyone.intersection(group))]
                results = predict([frame.pixels for frame, _ in seen]) if seen else []
                for (frame, wanting), result in zip(seen, results, strict=True):
                    found += [(observer, frame, result) for observer in wanting]
            yield found

    # The model looks at the next pictures while trackers and the like take in these.
    with closing(read_ahead(looked_at(), 1)) as ahead:
        for found in ahead:
            for observer, frame, result in found:
                observer.see(frame, result)
    return [region for observer in observers for region in observer.regions(duration)]


def _batches(items: Iterable[tuple[Frame, set[Observer]]], size: int) -> Iterator[list[tuple[Frame, set[Observer]]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
