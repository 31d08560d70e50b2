from itertools import pairwise
from typing import Any

import pytest

from yolo_backend.label_studio.timeline import EditorFrames, frame_rate


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        (None, {}, 24),
        ("", {}, 24),
        ("25", {}, 25),
        (" 29.97 ", {}, 29.97),
        ("25 fps", {}, 24),
        ("0", {}, 24),
        ("-5", {}, 24),
        ("nan", {}, 24),
        ("0.04", {}, 25),  # seconds per frame
        ("$fps", {"fps": 30}, 30),
        ("$fps", {"fps": "30"}, 30),
        ("$fps", {"fps": None}, 24),
        ("$fps", {}, 24),
        ("$video.fps", {"video": {"fps": 50}}, 50),
        ("$video.fps", {"video": "a.mp4"}, 24),
        ("1e9", {}, 1000),
        ("9" * 400, {}, 24),
        ("$fps", {"fps": 10**400}, 24),
    ],
)
def test_the_frame_rate_is_what_the_editor_reads(text: str | None, data: dict[str, Any], expected: float) -> None:
    assert frame_rate(text, data) == expected


# What Chromium 156 showed when it was sent to each of the editor's frames in turn: pictures by their index, at 24 frames/s.
SHOWN_OF_NTSC = [
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    10,
    11,
    12,
    13,
    15,
    16,
    17,
    18,
    20,
    21,
    22,
    23,
    25,
    26,
    27,
    28,
    30,
    31,
    32,
    33,
    35,
    36,
]
SHOWN_OF_NTSC += [37, 38, 40, 41, 42, 43, 45, 46, 47, 48, 49, 51, 52, 53, 55, 56, 57, 58]
SHOWN_OF_WEBM = [*SHOWN_OF_NTSC[:40], 50, 51, 52, 53, 55, 56, 57, 58]
LATE = [0, *(0.5 + index / 30 for index in range(1, 60))]
SHOWN_OF_LATE = [0] * 13 + SHOWN_OF_NTSC[1:28]


@pytest.mark.parametrize(
    ("times", "rate", "shown"),
    [
        # Frame n shows picture n - 1 where the rates are the same, in whatever unit the file keeps its times.
        ([index / 30 for index in range(61)], 30, list(range(60))),
        ([round(index / 30, 3) for index in range(61)], 30, list(range(60))),
        ([index * 1001 / 30000 for index in range(61)], 30000 / 1001, list(range(60))),
        ([index * 1001 / 30000 for index in range(61)], 24, SHOWN_OF_NTSC),
        ([round(index / 30, 3) for index in range(61)], 24, SHOWN_OF_WEBM),
        ([index / 30 for index in range(31)], 60, [index // 2 for index in range(60)]),
        (LATE, 24, SHOWN_OF_LATE),
        ([0, 0.1, 0.5, 0.6], 10, [0, 1, 1, 1, 1, 2]),
        ([0, 0.04], 24, [0]),
        ([0, 0], 24, []),
    ],
)
def test_numbers_are_those_at_which_a_browser_shows_the_picture(
    times: list[float], rate: float, shown: list[int]
) -> None:
    editor = EditorFrames(rate)
    numbers = [editor.shown(start, end) for start, end in pairwise(times)]
    by_number = {number: index for index, span in enumerate(numbers) for number in span}
    assert [by_number[number] for number in range(1, len(shown) + 1)] == shown
    # Every number belongs to one picture.
    assert sorted(by_number) == list(range(1, len(by_number) + 1))
    assert sum(map(len, numbers)) == len(by_number)


@pytest.mark.parametrize(
    ("duration", "rate", "count"),
    [(0, 24, 1), (10, 25, 250), (11, 24, 264), (2.001967, 30, 60), (0.5, 5, 3), (1.5, 3, 5)],
)
def test_frames_are_counted_as_in_the_editor(duration: float, rate: float, count: int) -> None:
    assert EditorFrames(rate).count(duration) == count


def test_times_are_those_that_the_editor_writes() -> None:
    assert EditorFrames(25).time(1) == 0.04
    assert EditorFrames(30).time(50) == 1.666667
