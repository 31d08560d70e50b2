import pytest

from yolo_backend.controls.ranges import Ranges


@pytest.mark.parametrize(
    ("on", "max_gap", "min_frames", "expected"),
    [
        ([], 0, 1, []),
        ([(1, 1)], 0, 1, [(1, 1)]),
        ([(1, 1), (2, 2), (3, 5)], 0, 1, [(1, 5)]),
        ([(1, 2), (4, 5)], 0, 1, [(1, 2), (4, 5)]),
        ([(1, 2), (4, 5)], 1, 1, [(1, 5)]),
        ([(1, 2), (5, 6)], 1, 1, [(1, 2), (5, 6)]),
        # A flicker that stays alone is dropped, one that is bridged is not.
        ([(1, 9), (20, 20), (40, 49)], 5, 3, [(1, 9), (40, 49)]),
        ([(1, 1), (4, 4), (7, 7)], 2, 7, [(1, 7)]),
        ([(1, 1), (4, 4), (7, 7)], 2, 8, []),
        ([(1, 1), (2, 2), (9, 9)], 0, 2, [(1, 2)]),
        # The last sample speaks for frames that the video doesn't have.
        ([(91, 110)], 0, 1, [(91, 100)]),
        ([(99, 110)], 0, 3, []),
        ([(101, 110)], 0, 1, []),
    ],
)
def test_gaps_are_bridged_and_then_short_ranges_dropped(
    on: list[tuple[int, int]], max_gap: int, min_frames: int, expected: list[tuple[int, int]]
) -> None:
    ranges = Ranges(max_gap=max_gap, min_frames=min_frames)
    for start, end in on:
        ranges.add(start, end, 0.8)
    found = list(ranges.finish(100))
    assert [(one.start, one.end) for one in found] == expected
    assert [one.score for one in found] == pytest.approx([0.8] * len(expected))


def test_the_score_is_the_mean_over_the_frames_that_are_on() -> None:
    ranges = Ranges(max_gap=5, min_frames=1)
    ranges.add(1, 3, 0.9)
    ranges.add(6, 6, 0.5)
    assert [one.score for one in ranges.finish(100)] == pytest.approx([0.8])


def test_hours_of_flicker_take_no_memory() -> None:
    ranges = Ranges(max_gap=1, min_frames=3)
    for frame in range(1, 100_000, 10):
        ranges.add(frame, frame, 0.5)
    assert len(ranges._ranges) == 1
