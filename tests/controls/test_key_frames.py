from typing import Any

import numpy as np
import pytest

from tests.support.drawn import drawn_box
from yolo_backend.controls.key_frames import KeyFrame, key_frames, simplify

FRAMES = 100


def sequence_of(keys: list[KeyFrame]) -> list[dict[str, Any]]:
    return [
        {"frame": key.frame, "enabled": key.enabled, **dict(zip(("x", "y", "width", "height"), key.box, strict=True))}
        for key in keys
    ]


def made(
    seen: dict[int, tuple[float, ...]], *, last: dict[int, int] | None = None, **options: Any
) -> list[tuple[int, bool]]:
    """Frame and enabled of the key frames of an object seen at these frames (to ``last``, where a picture stays)."""
    shown = np.array([(first, (last or {}).get(first, first)) for first in seen], int).reshape(-1, 2)
    boxes = np.array(list(seen.values()), float).reshape(-1, 4)
    keys = key_frames(shown, boxes, **{"frames": FRAMES, "max_gap": 2, "tolerance": 0.5, **options})
    return [(key.frame, key.enabled) for key in keys]


def still(*frames: int) -> dict[int, tuple[float, ...]]:
    return dict.fromkeys(frames, (10, 20, 30, 40))


@pytest.mark.parametrize(
    ("seen", "last", "expected"),
    [
        ({}, None, []),
        (still(7), None, [(7, False)]),
        (still(100), None, [(100, True)]),
        (still(7, 8, 9), None, [(7, True), (9, False)]),
        # There until the end of the video: nothing to switch off.
        (still(98, 99, 100), None, [(98, True), (100, True)]),
        # Up to two missing frames are drawn through, three are not.
        (still(7, 10), None, [(7, True), (10, False)]),
        (still(7, 11), None, [(7, False), (11, False)]),
        (still(1, 2, 10, 11, 12, 20), None, [(1, True), (2, False), (10, True), (12, False), (20, False)]),
        (still(1, 2, 99, 100), None, [(1, True), (2, False), (99, True), (100, True)]),
        # A picture that stays on screen is no gap, and the object is there as long as the picture is.
        (still(1, 20), {1: 19, 20: 30}, [(1, True), (30, False)]),
        (still(1, 99), {1: 10, 99: 120}, [(1, True), (10, False), (99, True), (100, True)]),
        # What comes after the last frame that the editor counts.
        (still(99, 101), None, [(99, False)]),
        (still(101), None, []),
    ],
)
def test_an_object_is_switched_off_where_it_is_gone(
    seen: dict[int, tuple[float, ...]], last: dict[int, int] | None, expected: list[tuple[int, bool]]
) -> None:
    assert made(seen, last=last) == expected


def line(*frames: int) -> dict[int, tuple[float, ...]]:
    return {frame: (frame * 0.5, 20, 10, 10) for frame in frames}


@pytest.mark.parametrize(
    ("seen", "tolerance", "frames"),
    [
        (line(*range(1, 50)), 0.5, [1, 49]),
        (line(*range(1, 50)), 0, list(range(1, 50))),
        (line(1, 2, 4, 5), 0.5, [1, 5]),
        # A corner in the middle.
        ({n: (abs(n - 20), 20, 10, 10) for n in range(1, 40)}, 0.5, [1, 20, 39]),
        # The left edge stays, the right one moves: by 0.4, 0.6.
        ({1: (10, 20, 10, 10), 2: (10, 20, 10.4, 10), 3: (10, 20, 10, 10)}, 0.5, [1, 3]),
        ({1: (10, 20, 10, 10), 2: (10, 20, 10.6, 10), 3: (10, 20, 10, 10)}, 0.5, [1, 2, 3]),
        # Both edges by 0.4 each, the width by 0.8.
        ({1: (10, 20, 10, 10), 2: (9.6, 20, 10.8, 10), 3: (10, 20, 10, 10)}, 0.5, [1, 2, 3]),
    ],
)
def test_key_frames_are_where_the_motion_changes(
    seen: dict[int, tuple[float, ...]], tolerance: float, frames: list[int]
) -> None:
    assert [frame for frame, _ in made(seen, tolerance=tolerance)] == frames


@pytest.mark.parametrize("tolerance", [0.05, 0.5, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_drawn_is_where_the_object_was(seed: int, tolerance: float) -> None:
    """Random walks with jumps, gaps and pictures that stay: nothing is off by more, and nothing is drawn in gaps."""
    rng = np.random.default_rng(seed)
    spans: list[tuple[int, int]] = []
    frame = 1
    while frame <= 400:
        last = frame + int(rng.choice([0, 0, 0, 1, 12]))
        spans.append((frame, last))
        frame = last + 1 + int(rng.choice([0, 0, 0, 0, 2, 9]))
    steps = rng.normal(0, 0.4, (len(spans), 4)) + (rng.random((len(spans), 1)) < 0.02) * 8
    boxes = np.round(np.clip(30 + np.cumsum(steps, axis=0), 1, 60), 4)
    frames = spans[-1][1] + int(rng.choice([0, 30]))
    keys = key_frames(np.array(spans), boxes, frames=frames, max_gap=3, tolerance=tolerance)
    assert len(keys) < 2 * len(spans)
    sequence = sequence_of(keys)
    assert [key["frame"] for key in sequence] == sorted({key["frame"] for key in sequence})
    shown_at = {frame: box for (first, last), box in zip(spans, boxes, strict=True) for frame in range(first, last + 1)}
    worst = 0.0
    for frame in range(1, frames + 1):
        drawn = drawn_box(sequence, frame)
        if frame in shown_at:
            assert drawn is not None
            left, top, width, height = np.subtract(drawn, shown_at[frame])
            worst = max(worst, *map(abs, (left, top, width, height, left + width, top + height)))
        else:
            missing = 1 + sum(
                next(n for n in range(1, 1000) if frame + way * n in shown_at or not 1 <= frame + way * n <= frames) - 1
                for way in (-1, 1)
            )
            in_between = any(n in shown_at for n in range(frame, frames + 1))
            assert (drawn is not None) == (missing <= 3 and in_between)
    assert worst <= tolerance + 1e-9


@pytest.mark.parametrize("count", [0, 1, 2, 64, 65, 66, 200, 1000])
def test_a_straight_line_needs_its_ends_alone(count: int) -> None:
    numbers = np.arange(count) * 3 + 1
    boxes = np.column_stack([numbers * 0.01] * 4)
    kept = simplify(numbers, boxes, tolerance=0.1)
    assert kept.tolist() == [0, count - 1][:count]
