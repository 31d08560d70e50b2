import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.alike import alike
from tests.support.clips import read_frames, write_clip
from tests.support.drawn import drawn_box
from tests.support.scenes import BLANK, NAMES, Seen, moving, result
from tests.support.scores import CLIPS, score_regions, truth_of
from yolo_backend.controls import VideoControl
from yolo_backend.controls.video_rectangle import VideoRectangle
from yolo_backend.inference.tracking import trackers
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media.video import Frame
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import Settings
from yolo_backend.tasks import Region

LABELS = '<Label value="Car" predicted_values="car"/><Label value="Truck" predicted_values="truck"/>'


def config(attributes: str = "", labels: str = LABELS, on_labels: str = "", video: str = 'frameRate="25"') -> str:
    return (
        f'<View><Labels name="label" toName="video" {on_labels}>{labels}</Labels>'
        f'<Video name="video" value="$video" {video}/><VideoRectangle name="box" toName="video" {attributes}/></View>'
    )


def control(xml: str) -> VideoRectangle:
    (made,) = make_plan(xml, Settings()).controls
    assert isinstance(made, VideoRectangle)
    return made


class TestConfig:
    def test_defaults(self) -> None:
        plan = make_plan(config(), Settings())
        assert plan.problems == ()
        (made,) = plan.controls
        assert isinstance(made, VideoRectangle)
        assert (made.name, made.to_name, made.source.value) == ("box", "video", "$video")
        assert [label.value for label in made.labels] == ["Car", "Truck"]
        assert (made.model_tracker, made.tracker_parameters) == ("botsort", ())
        assert made.confidence == 0.1  # what BoT-SORT can make use of
        assert plan.passes[0].options.confidence == 0.1
        assert plan.passes[0].model.weights == "yolo26n.pt"

    @pytest.mark.parametrize(
        ("attributes", "tracker", "parameters", "confidence"),
        [
            ('model_tracker="bytetrack"', "bytetrack", {}, 0.1),
            ('model_tracker="bytetrack.yaml"', "bytetrack", {}, 0.1),
            ('model_tracker="tracktrack"', "tracktrack", {}, 0.25),
            ('botsort_track_buffer="60"', "botsort", {"track_buffer": 60}, 0.1),
            ('botsort_gmc_method="none"', "botsort", {"gmc_method": "none"}, 0.1),
            ('botsort_fuse_score="false"', "botsort", {"fuse_score": False}, 0.1),
            ('botsort_track_low_thresh="0.2"', "botsort", {"track_low_thresh": 0.2}, 0.2),
            ('model_score_threshold="0.05"', "botsort", {}, 0.05),
            ('model_conf="0.3"', "botsort", {}, 0.3),
            (
                'model_tracker="bytetrack" bytetrack_match_thresh="0.7" bytetrack_new_track_thresh="0.6"',
                "bytetrack",
                {"match_thresh": 0.7, "new_track_thresh": 0.6},
                0.1,
            ),
        ],
    )
    @pytest.mark.parametrize("on_labels", [False, True])
    def test_attributes_are_read_from_both_tags(
        self, attributes: str, tracker: str, parameters: dict[str, object], confidence: float, on_labels: bool
    ) -> None:
        xml = config(on_labels=attributes) if on_labels else config(attributes)
        assert make_plan(xml, Settings()).problems == ()
        made = control(xml)
        assert made.model_tracker == tracker
        assert dict(made.tracker_parameters) == parameters
        assert made.confidence == confidence

    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            ('model_tracker="sort"', "the installed library has botsort, bytetrack"),
            ('model_tracker="../botsort.yaml"', "the installed library has botsort, bytetrack"),
            ('botsort_track_bufer="60"', "known are botsort_track_high_thresh, botsort_track_low_thresh"),
            ('botsort_="60"', "known are botsort_track_high_thresh"),
            ('botsort_tracker_type="ocsort"', "known are botsort_track_high_thresh"),
            ('botsort_track_buffer="2.5"', "a whole number from 0 to 100000 is expected"),
            ('botsort_match_thresh="80"', "a number from 0 to 1 is expected"),
            ('botsort_match_thresh="nan"', "a number from 0 to 1 is expected"),
            ('botsort_fuse_score="maybe"', "true or false is expected"),
            ('botsort_gmc_method="magic"', "sparseOptFlow, orb, sift, ecc, none is expected"),
            ('botsort_with_reid="true"', "not matched by appearance"),
            ('botsort_model="/etc/passwd"', "not matched by appearance"),
            ('bytetrack_track_buffer="60"', "model_tracker is botsort"),
            ('model_keyframe_tolerance="-1"', "a number from 0 to 100 is expected"),
            ('model_treshold="1"', "not an attribute of this tag"),
        ],
    )
    def test_what_cannot_be_used_is_named_and_ignored(self, attributes: str, words: str) -> None:
        plan = make_plan(config(attributes), Settings())
        (problem,) = plan.problems
        assert problem.startswith('<VideoRectangle name="box">: ')
        assert attributes.partition("=")[0] in problem
        assert words in problem
        assert plan.controls == make_plan(config(), Settings()).controls

    def test_the_labels_must_be_somewhere(self) -> None:
        plan = make_plan('<View><Video name="v" value="$v"/><VideoRectangle name="b" toName="v"/></View>', Settings())
        assert plan.controls == ()
        assert plan.problems == ('<VideoRectangle name="b"> needs a <Labels toName="v"> beside it',)

    @pytest.mark.parametrize(
        ("video", "rate"),
        [("", 24), ('frameRate="30"', 30), ('framerate="25.0"', 25), ('frameRate="$fps"', 50), ('frameRate="x"', 24)],
    )
    def test_the_frame_rate_is_the_editors(self, video: str, rate: float) -> None:
        assert control(config(video=video)).editor_frames({"fps": 50}).rate == rate

    def test_what_changes_an_answer_changes_the_model_version(self) -> None:
        variants = [
            config(),
            config(video='frameRate="30"'),
            config('botsort_track_buffer="60"'),
            config('model_tracker="ocsort"'),
            config('model_keyframe_tolerance="1"'),
        ]
        assert len({json.dumps(control(xml).fingerprint()) for xml in variants}) == len(variants)


def watched(
    made: VideoControl, frames: list[list[Seen]], *, rate: float = 25, length: float | None = None
) -> list[Region]:
    """What a control makes of what was found on the pictures of a video at a constant rate."""
    observer = made.observer(NAMES, {})
    for index, seen in enumerate(frames):
        frame = Frame(pixels=BLANK, start=index / rate, end=(index + 1) / rate)
        assert observer.wants(frame)
        observer.see(frame, result(*seen))
    return list(observer.regions(len(frames) / rate if length is None else length))


class TestRegions:
    def test_a_region_is_what_label_studio_saves(self) -> None:
        (region,) = watched(control(config()), [[one] for one in moving(50, start=20, step=4, top=100)])
        sequence = region["value"].pop("sequence")
        assert region == {
            "id": "box/1",
            "from_name": "box",
            "to_name": "video",
            "type": "videorectangle",
            "value": {"framesCount": 50, "duration": 2.0, "labels": ["Car"]},
            "score": 0.9,
        }
        common = {"rotation": 0, "y": 25, "width": 15, "height": 10, "enabled": True}
        assert sequence == [
            {"frame": 1, "time": 0.04, "x": 5, **common},
            {"frame": 50, "time": 2.0, "x": 54, **common},
        ]

    @pytest.mark.parametrize("tracker", trackers())
    @pytest.mark.parametrize(
        ("spans", "expected"),
        [
            ([(0, 50)], [(1, 50, True)]),
            # It comes into view later, and goes.
            ([(10, 50)], [(11, 50, True)]),
            ([(10, 30)], [(11, 30, False)]),
            ([(1, 20)], [(2, 20, False)]),
            # Away for longer than the tracker waits, it is another object.
            ([(5, 15), (75, 90)], [(6, 15, False), (76, 90, True)]),
        ],
    )
    def test_an_object_is_there_from_its_first_frame_to_its_last(
        self, tracker: str, spans: list[tuple[int, int]], expected: list[tuple[int, int, bool]]
    ) -> None:
        length = max(50, *(end for _, end in spans))
        boxes = moving(length, start=20, step=1, top=100)
        frames = [[box] if any(a <= index < b for a, b in spans) else [] for index, box in enumerate(boxes)]
        found = []
        for region in watched(control(config(f'model_tracker="{tracker}"')), frames):
            keys = region["value"]["sequence"]
            found.append((keys[0]["frame"], keys[-1]["frame"], keys[-1]["enabled"]))
        assert found == expected

    @pytest.mark.parametrize("tracker", ["botsort", "bytetrack", "ocsort"])
    def test_what_is_seen_once_is_no_object(self, tracker: str) -> None:
        boxes = moving(30, start=20, step=1, top=100)
        frames = [[boxes[index]] if index in (4, 9, 10, 20) else [] for index in range(30)]
        (region,) = watched(control(config(f'model_tracker="{tracker}"')), frames)
        assert [key["frame"] for key in region["value"]["sequence"]] == [10, 11, 21]

    @pytest.mark.parametrize("frames", [0, 1, 30])
    def test_nothing_found_is_no_region(self, frames: int) -> None:
        assert watched(control(config()), [[] for _ in range(frames)]) == []

    @pytest.mark.parametrize(
        ("kinds", "labels"),
        [
            ([0] * 20, [["Car"]]),
            # One object whose class flickers is one region, called what it mostly looks like.
            ([0, 0, 0, 1] * 5, [["Car"]]),
            ([1, 1, 0, 1] * 5, [["Truck"]]),
            ([2, 0, 2, 2] * 5, []),
            ([2, 0, 0, 0] * 5, [["Car"]]),
            ([2] * 20, []),
        ],
    )
    def test_frames_vote_for_the_label(self, kinds: list[int], labels: list[list[str]]) -> None:
        boxes = moving(20, start=20, step=4, top=100)
        regions = watched(control(config()), [[(*box[:5], kind)] for box, kind in zip(boxes, kinds, strict=True)])
        assert [region["value"]["labels"] for region in regions] == labels

    def test_classes_of_one_label_vote_together(self) -> None:
        labels = '<Label value="车辆" predicted_values="car, truck"/><Label value="tree"/>'
        boxes = moving(20, start=20, step=4, top=100)
        frames: list[list[Seen]] = [[(*box[:5], index % 5 % 3)] for index, box in enumerate(boxes)]
        assert [r["value"]["labels"] for r in watched(control(config(labels=labels)), frames)] == [["车辆"]]

    @pytest.mark.parametrize(
        ("scores", "attributes", "labels", "found"),
        [
            ([0.6], "", LABELS, [0.6]),
            ([0.4], "", LABELS, []),
            ([0.4], 'model_score_threshold="0.3"', LABELS, [0.4]),
            # Weak for a while, but well seen on the whole.
            ([0.9, 0.9, 0.3], "", LABELS, [0.7]),
            ([0.9, 0.2, 0.2], "", LABELS, []),
            ([0.6], "", LABELS.replace('"car"', '"car" model_score_threshold="0.7"'), []),
            # Below what the tracker asks for by default.
            ([0.15], 'model_score_threshold="0.1"', LABELS, [0.15]),
            ([0.6], 'model_conf="0.7"', LABELS, []),
        ],
    )
    def test_the_score_is_the_mean_and_must_reach_the_labels_threshold(
        self, scores: list[float], attributes: str, labels: str, found: list[float]
    ) -> None:
        boxes = moving(30, start=20, step=2, top=100)
        frames: list[list[Seen]] = [[(*box[:4], scores[i % len(scores)], 0)] for i, box in enumerate(boxes)]
        regions = watched(control(config(attributes, labels)), frames)
        assert [region["score"] for region in regions] == pytest.approx(found, abs=1e-3)

    def test_an_object_is_off_while_it_is_away(self) -> None:
        boxes = moving(60, start=20, step=2, top=100)
        frames = [[] if 20 <= index < 30 or index >= 50 else [box] for index, box in enumerate(boxes)]
        (region,) = watched(control(config()), frames)
        drawn = [number for number in range(1, 61) if drawn_box(region["value"]["sequence"], number)]
        assert drawn == [*range(1, 21), *range(31, 51)]

    def test_a_short_gap_is_drawn_through(self) -> None:
        boxes = moving(60, start=20, step=2, top=100)
        frames = [[] if 20 <= index < 25 else [box] for index, box in enumerate(boxes)]
        (region,) = watched(control(config()), frames)
        assert all(drawn_box(region["value"]["sequence"], number) for number in range(1, 61))
        (region,) = watched(control(config('model_max_gap="4"')), frames)
        assert not drawn_box(region["value"]["sequence"], 23)

    @pytest.mark.parametrize("rate", ["12.5", "24", "25", "60"])
    def test_the_editor_may_count_at_another_rate(self, rate: str) -> None:
        """At each of its frames the box is where the object is on the picture that is shown there."""
        boxes = moving(50, start=20, step=4, top=100)
        xml = config('model_keyframe_tolerance="0.2"', video=f'frameRate="{rate}"')
        (region,) = watched(control(xml), [[box] for box in boxes])
        frames = region["value"]["framesCount"]
        assert frames == round(2 * float(rate))
        for number in range(1, frames + 1):
            picture = int(((number - 1) / float(rate) + 0.002) * 25)
            drawn = drawn_box(region["value"]["sequence"], number)
            assert drawn is not None
            assert drawn[0] == pytest.approx(boxes[picture][0] / 4, abs=0.2 + 1e-6)

    def test_sound_that_goes_on_keeps_the_last_picture(self) -> None:
        boxes = moving(50, start=20, step=2, top=100)
        observer = control(config()).observer(NAMES, {})
        for index, box in enumerate(boxes):
            end = 3.0 if index == 49 else (index + 1) / 25
            observer.see(Frame(pixels=BLANK, start=index / 25, end=end), result(box))
        (region,) = observer.regions(3.0)
        assert region["value"]["framesCount"] == 75
        assert drawn_box(region["value"]["sequence"], 75) == drawn_box(region["value"]["sequence"], 50)


NOWHERE = LabelStudio(url=None)
DEMO = config(
    'model_path="demo-detect.pt" model_tracker="bytetrack"', '<Label value="qr_code"/><Label value="barcode"/>'
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    root = tmp_path_factory.mktemp("files")
    for clip in CLIPS.glob("*.mp4"):
        shutil.copy(clip, root)
    pictures = [frame.pixels for frame in read_frames(CLIPS / "codes.mp4")][:60]
    kept = [index for index in range(60) if index % 7 not in (2, 3, 5)]
    write_clip(root / "variable.mp4", [index / 25 for index in kept], [pictures[i] for i in kept], size=(640, 360))
    write_clip(root / "short.mp4", [index / 25 for index in range(30)], pictures[:30], size=(640, 360))
    (root / "broken.mp4").write_bytes((root / "short.mp4").read_bytes()[:5000])
    return Engine(Settings(model_dir=tmp_path_factory.mktemp("data"), local_files_document_root=root, batch_size=4))


def predicted(engine: Engine, *names: str, xml: str = DEMO) -> list[list[Region] | None]:
    tasks: list[dict[str, Any]] = [
        {"id": number, "data": {"video": f"/data/local-files/?d={name}"}} for number, name in enumerate(names)
    ]
    return [None if one is None else one.regions for one in engine.predict(engine.plan(xml), tasks, NOWHERE)]


@pytest.mark.slow
class TestWithTheRealModel:
    def test_codes_are_followed_through_the_sample_clip(self, engine: Engine) -> None:
        (regions,) = predicted(engine, "codes.mp4")
        assert regions is not None
        score = score_regions(regions, truth_of("codes.mp4"))
        assert score.mota > 0.95
        assert score.switches <= 2  # one code leaves the view for 3.5 s
        assert score.mean_iou > 0.9
        assert score.key_frames < score.truths / 3
        assert len({region["id"] for region in regions}) == len(regions) <= 5

    def test_boxes_fit_a_video_of_variable_rate(self, engine: Engine) -> None:
        (regions,) = predicted(engine, "variable.mp4")
        assert regions is not None
        truth = truth_of("codes.mp4")
        # Where a picture was left out, the one before it stays on screen.
        shown = [max(i for i in range(60) if i % 7 not in (2, 3, 5) and i <= number) for number in range(60)]
        score = score_regions(regions, {**truth, "frames": [truth["frames"][index] for index in shown]})
        assert score.mota > 0.8
        assert score.mean_iou > 0.8

    def test_a_broken_video_is_that_tasks_failure(self, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
        before, broken, after = predicted(engine, "short.mp4", "broken.mp4", "short.mp4")
        assert broken is None
        assert before
        assert after
        assert alike([region["value"] for region in before], [region["value"] for region in after])
        (message,) = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
        assert message.startswith("Task 1 left out: an MP4 video that is damaged or incomplete")

    def test_videos_at_once_give_what_each_gives_alone(self, engine: Engine) -> None:
        names = ["short.mp4", "variable.mp4"]
        alone = [predicted(engine, name) for name in names]
        with ThreadPoolExecutor(4) as pool:
            assert alike(list(pool.map(lambda name: predicted(engine, name), names * 2)), alone * 2)

    @pytest.mark.parametrize("tracker", trackers())
    def test_every_tracker_works(self, engine: Engine, tracker: str) -> None:
        (regions,) = predicted(engine, "short.mp4", xml=DEMO.replace("bytetrack", tracker))
        assert regions is not None
        assert {region["value"]["labels"][0] for region in regions} == {"qr_code", "barcode"}

    def test_temporary_files_are_gone(self, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        data = {"video": "data:video/mp4;base64,AAAA"}
        assert engine.predict(engine.plan(DEMO), [{"id": 1, "data": data}], NOWHERE) == [None]
        assert list(tmp_path.iterdir()) == []
