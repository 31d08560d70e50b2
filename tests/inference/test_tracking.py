from collections.abc import Iterable

import numpy as np
import pytest

from tests.support.scenes import BLANK, Seen, moving, rows
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.tracking import APPEARANCE, Parameter, Sighting, Tracker, parameters_for, trackers


def followed(name: str, frames: list[list[Seen]], **given: Parameter) -> list[dict[int, int]]:
    """Per frame the index of each object's box, by the object's number, for objects that the tracker is sure of."""
    tracker = Tracker(name, parameters_for(name, given, least_score=0.5))
    return [confirmed(tracker.update(rows(*seen), BLANK)) for seen in frames]


def confirmed(sightings: Iterable[Sighting]) -> dict[int, int]:
    return {seen.number: seen.box for seen in sightings if seen.is_confirmed}


def test_every_tracker_of_the_library_is_there_with_its_parameters() -> None:
    ultralytics()
    from ultralytics.trackers.track import TRACKER_MAP

    assert set(trackers()) == set(TRACKER_MAP)
    for parameters in trackers().values():
        assert {"track_high_thresh", "track_low_thresh", "new_track_thresh", "track_buffer"} < set(parameters)
        assert all(isinstance(default, (bool, int, float, str)) for default in parameters.values())
        assert "tracker_type" not in parameters


@pytest.mark.parametrize("name", trackers())
def test_objects_keep_their_numbers(name: str) -> None:
    one = moving(30, start=10, step=6, top=50)
    other = moving(30, start=300, step=-6, top=250)
    # The model gives them in either order.
    frames = [[a, b] if index % 2 else [b, a] for index, (a, b) in enumerate(zip(one, other, strict=True))]
    found = followed(name, frames)
    settled = [{number: frames[index][box][1] for number, box in seen.items()} for index, seen in enumerate(found)][5:]
    assert all(seen == settled[0] for seen in settled)
    assert sorted(settled[0].values()) == [50, 250]


@pytest.mark.parametrize("name", trackers())
def test_an_object_that_is_hidden_for_a_moment_keeps_its_number(name: str) -> None:
    seen = moving(40, start=10, step=4, top=50)
    found = followed(name, [[] if 15 <= index < 20 else [one] for index, one in enumerate(seen)])
    assert not any(found[15:20])
    assert found[14] == found[39] != {}


@pytest.mark.parametrize("name", trackers())
@pytest.mark.parametrize("first", [0, 7])
def test_an_object_is_seen_from_its_first_frame_on(name: str, first: int) -> None:
    tracker = Tracker(name, parameters_for(name, {}, least_score=0.5))
    boxes = moving(20, start=10, step=4, top=50)
    sightings = [tracker.update(rows(*([box] if index >= first else [])), BLANK) for index, box in enumerate(boxes)]
    assert [[seen.number for seen in frame] for frame in sightings] == [[]] * first + [[1]] * (20 - first)
    assert sightings[-1][0].is_confirmed


@pytest.mark.parametrize("name", trackers())
def test_nothing_to_follow_is_nothing(name: str) -> None:
    assert followed(name, [[] for _ in range(5)]) == [{}] * 5


@pytest.mark.parametrize("name", trackers())
def test_videos_at_the_same_time_do_not_touch_each_other(name: str) -> None:
    one = [[seen] for seen in moving(20, start=10, step=4, top=50)]
    other = [[seen] for seen in moving(20, start=200, step=4, top=150)]
    alone = followed(name, one), followed(name, other)
    first, second = (Tracker(name, parameters_for(name, {}, least_score=0.5)) for _ in range(2))
    together: tuple[list[dict[int, int]], list[dict[int, int]]] = [], []
    for pair in zip(one, other, strict=True):
        for tracker, seen, found in zip((first, second), pair, together, strict=True):
            found.append(confirmed(tracker.update(rows(*seen), BLANK)))
    assert together == alone


def test_a_weak_box_keeps_an_object_alive_and_starts_none() -> None:
    strong = moving(20, start=10, step=4, top=50)
    weak = [(*seen[:4], 0.15, 0) for seen in moving(20, start=10, step=4, top=250)]
    fading: list[Seen] = [(*seen[:4], 0.15 if index >= 10 else 0.9, 0) for index, seen in enumerate(strong)]
    found = followed("bytetrack", [[a, b] for a, b in zip(fading, weak, strict=True)])
    assert [list(seen.values()) for seen in found] == [[0]] * 20


@pytest.mark.parametrize(
    ("name", "given", "least_score", "expected"),
    [
        ("bytetrack", {}, 0.5, {"track_high_thresh": 0.25, "new_track_thresh": 0.25, "track_low_thresh": 0.1}),
        # An object of the least score that a label asks for must be found.
        ("bytetrack", {}, 0.05, {"track_high_thresh": 0.05, "new_track_thresh": 0.05, "track_low_thresh": 0.05}),
        ("tracktrack", {}, 0.5, {"track_high_thresh": 0.5, "new_track_thresh": 0.5, "track_low_thresh": 0.25}),
        # Unless it was said otherwise.
        ("bytetrack", {"new_track_thresh": 0.7}, 0.05, {"new_track_thresh": 0.7, "track_high_thresh": 0.05}),
        ("bytetrack", {"track_buffer": 60}, 0.5, {"track_buffer": 60, "match_thresh": 0.8}),
        ("botsort", {"with_reid": True}, 0.5, {"with_reid": False}),
    ],
)
def test_parameters_are_the_librarys_but_for_what_is_asked(
    name: str, given: dict[str, Parameter], least_score: float, expected: dict[str, object]
) -> None:
    parameters = parameters_for(name, given, least_score=least_score)
    assert {key: parameters[key] for key in expected} == expected
    assert set(parameters) == set(trackers()[name])


def test_the_cameras_motion_is_taken_out() -> None:
    """Where all moves with the camera, an object is followed; without this, the jumps are too far."""
    rng = np.random.default_rng(3)
    ground = np.kron(rng.integers(0, 256, (40, 80), np.uint8), np.ones((12, 12), np.uint8))
    shifts = [0] * 6 + [45 * jump for jump in range(1, 9)]
    seen = {}
    for method in ("sparseOptFlow", "none"):
        tracker = Tracker("botsort", parameters_for("botsort", {"gmc_method": method}, least_score=0.5))
        found: list[int] = []
        for shift in shifts:
            pixels = np.repeat(ground[:400, shift : shift + 400, None], 3, axis=2).copy()
            box = (380 - shift, 100, 420 - shift, 140, 0.9, 0)
            found += confirmed(tracker.update(rows(box), pixels))
        seen[method] = found
    assert seen["sparseOptFlow"] == [1] * len(shifts)
    assert len(seen["none"]) < len(shifts)


def test_appearance_is_known_by_the_names_that_the_library_uses() -> None:
    assert set(trackers()["botsort"]) > APPEARANCE
