from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.clips import write_clip
from tests.support.scenes import BLANK
from tests.support.scores import CLIPS, frame_iou, predict, timeline_config, truth_of
from yolo_backend.controls.timeline_labels import TimelineLabels
from yolo_backend.inference import Detections
from yolo_backend.inference.library import ultralytics
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media.video import Frame
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import Settings
from yolo_backend.tasks import Region

NAMES = {0: "rain", 1: "snow", 2: "sun", 3: "dry"}
LABELS = '<Label value="Wet" predicted_values="rain, snow"/><Label value="sun" model_score_threshold="0.4"/>'


def config(attributes: str = "", labels: str = LABELS, video: str = 'frameRate="10"') -> str:
    return (
        f'<View><TimelineLabels name="weather" toName="video" {attributes}>{labels}</TimelineLabels>'
        f'<Video name="video" value="$video" {video}/></View>'
    )


def control(xml: str) -> TimelineLabels:
    plan = make_plan(xml, Settings())
    assert plan.problems == ()
    (made,) = plan.controls
    assert isinstance(made, TimelineLabels)
    return made


def classified(scores: Sequence[float]) -> Detections:
    return Detections(
        names=NAMES,
        width=BLANK.shape[1],
        height=BLANK.shape[0],
        probabilities=np.array(scores),
    )


def watched(
    made: TimelineLabels, scores: Sequence[tuple[float, ...]], *, rate: float = 10, asked: list[int] | None = None
) -> list[Region]:
    """What a control makes of the scores of the pictures of a video at a constant rate; ``asked``: of which it wanted."""
    observer = made.observer(NAMES, {})
    for index, one in enumerate(scores):
        frame = Frame(pixels=BLANK, start=index / rate, end=(index + 1) / rate)
        if observer.wants(frame):
            if asked is not None:
                asked.append(index)
            observer.see(frame, classified(one))
    return list(observer.regions(len(scores) / rate))


RAIN, SNOW, SUN, DRY = (0.9, 0.0, 0.1, 0.0), (0.0, 0.8, 0.2, 0.0), (0.1, 0.0, 0.7, 0.2), (0.1, 0.1, 0.2, 0.6)
BOTH = (0.5, 0.0, 0.45, 0.05)


def ranges(regions: list[Region]) -> list[tuple[str, int, int]]:
    return [
        (
            region["value"]["timelinelabels"][0],
            region["value"]["ranges"][0]["start"],
            region["value"]["ranges"][0]["end"],
        )
        for region in regions
    ]


def test_a_region_is_what_label_studio_saves() -> None:
    assert watched(control(config()), [DRY] * 5 + [RAIN] * 10) == [
        {
            "id": "weather/0/6",
            "from_name": "weather",
            "to_name": "video",
            "type": "timelinelabels",
            "value": {"ranges": [{"start": 6, "end": 15}], "timelinelabels": ["Wet"]},
            "score": 0.9,
        }
    ]


@pytest.mark.parametrize(
    ("scores", "attributes", "expected"),
    [
        ([], "", []),
        ([DRY] * 20, "", []),
        ([RAIN] * 20, "", [("Wet", 1, 20)]),
        # Two classes of one label.
        ([RAIN] * 10 + [SNOW] * 10, "", [("Wet", 1, 20)]),
        # Two labels at once, each with its own threshold.
        ([RAIN] * 5 + [BOTH] * 5 + [SUN] * 5, "", [("Wet", 1, 10), ("sun", 6, 15)]),
        ([BOTH] * 5, 'model_score_threshold="0.6"', [("sun", 1, 5)]),
        # Flickers.
        ([RAIN] * 5 + [DRY] * 5 + [RAIN] * 5, "", [("Wet", 1, 15)]),
        ([RAIN] * 5 + [DRY] * 6 + [RAIN] * 5, "", [("Wet", 1, 5), ("Wet", 12, 16)]),
        ([RAIN] * 5 + [DRY] * 6 + [RAIN] * 5, 'model_max_gap="6"', [("Wet", 1, 16)]),
        ([RAIN] * 5 + [DRY] + [RAIN] * 5, 'model_max_gap="0"', [("Wet", 1, 5), ("Wet", 7, 11)]),
        ([DRY] * 9 + [RAIN] * 2 + [DRY] * 9, "", []),
        ([DRY] * 9 + [RAIN] * 2 + [DRY] * 9, 'model_min_frames="2"', [("Wet", 10, 11)]),
    ],
)
def test_ranges_are_those_of_each_label(
    scores: Sequence[tuple[float, ...]], attributes: str, expected: list[tuple[str, int, int]]
) -> None:
    assert ranges(watched(control(config(attributes)), scores)) == expected


@pytest.mark.parametrize(
    ("step", "rate", "asked", "expected"),
    [
        (1, "10", list(range(20)), [("Wet", 8, 20)]),
        # Frames 1, 5, 9, … speak for three more each.
        (4, "10", [0, 4, 8, 12, 16], [("Wet", 9, 20)]),
        (7, "10", [0, 7, 14], [("Wet", 8, 20)]),
        (100, "10", [0], []),
        # The editor counts half as many frames, or twice as many.
        (1, "5", list(range(0, 20, 2)), [("Wet", 5, 10)]),
        (1, "20", list(range(20)), [("Wet", 15, 40)]),
        (3, "20", [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19], [("Wet", 16, 40)]),
    ],
)
def test_every_nth_frame_of_the_editor_is_classified(
    step: int, rate: str, asked: list[int], expected: list[tuple[str, int, int]]
) -> None:
    made = control(config(f'model_frame_step="{step}"', video=f'frameRate="{rate}"'))
    wanted: list[int] = []
    assert ranges(watched(made, [DRY] * 7 + [RAIN] * 13, asked=wanted)) == expected
    assert wanted == asked


def test_the_score_is_the_mean_over_what_is_on() -> None:
    (region,) = watched(control(config()), [RAIN] * 3 + [DRY] * 2 + [SNOW])
    assert region["score"] == pytest.approx((3 * 0.9 + 0.8) / 4, abs=1e-4)


def test_ids_are_unique() -> None:
    regions = watched(control(config('model_max_gap="0" model_min_frames="1"')), [RAIN, DRY, BOTH, SUN] * 5)
    assert len(regions) == 15
    assert len({region["id"] for region in regions}) == 15


def test_problems_are_named() -> None:
    plan = make_plan(config('model_frame_step="0" model_min_frames="x" model_gap="3"'), Settings())
    assert len(plan.controls) == 1
    assert [problem.partition(": ")[2] for problem in plan.problems] == [
        "model_frame_step='0' is ignored: a whole number from 1 to 100000 is expected",
        "model_min_frames='x' is ignored: a whole number from 1 to 100000 is expected",
        "model_gap is not an attribute of this tag; did you mean model_max_gap?",
    ]


def test_a_tag_on_sound_is_left_out_with_a_word() -> None:
    xml = config().replace("<Video ", "<Audio ")
    plan = make_plan(xml, Settings())
    assert plan.controls == ()
    assert "<Video>" in plan.problems[0]


def test_several_tags_on_one_video_are_told_apart() -> None:
    xml = config().replace(
        "</View>",
        '<VideoRectangle name="box" toName="video"/><Labels name="l" toName="video"><Label value="car"/></Labels></View>',
    )
    made: Any = make_plan(xml, Settings())
    assert [(one.model.weights, [control.name for control in one.controls]) for one in made.passes] == [
        ("yolo26n-cls.pt", ["weather"]),
        ("yolo26n.pt", ["box"]),
    ]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Classifies by real inference with weights that were not trained: every class gets about a third."""
    library = ultralytics()
    import torch
    from ultralytics.nn.tasks import ClassificationModel

    weights = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    yolo = library.YOLO("yolo11n-cls.yaml")
    model = ClassificationModel("yolo11n-cls.yaml", nc=3, verbose=False)
    model.task, model.args, model.names = yolo.task, yolo.model.args, {0: "rain", 1: "snow", 2: "sun"}
    yolo.model = model
    yolo.save(weights / "untrained.pt")
    files = tmp_path_factory.mktemp("files")
    write_clip(files / "clip.mp4", [index / 10 for index in range(20)])
    settings = Settings(model_root=weights, model_dir=weights, local_files_document_root=files, batch_size=8)
    return Engine(settings)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.2, [("Wet", 1, 20), ("sun", 1, 20)]), (0.6, [])],
)
def test_a_video_is_classified_by_a_model(
    engine: Engine, threshold: float, expected: list[tuple[str, int, int]]
) -> None:
    labels = '<Label value="Wet" predicted_values="rain, snow"/><Label value="sun"/>'
    asked = f'model_path="untrained.pt" model_imgsz="32" model_score_threshold="{threshold}"'
    # A second tag on the same video, which finds nothing in it.
    beside = (
        '<Labels name="l" toName="video"><Label value="barcode"/></Labels>'
        '<VideoRectangle name="box" toName="video" model_path="demo-detect.pt" model_imgsz="64"/></View>'
    )
    plan = engine.plan(config(asked, labels).replace("</View>", beside))
    task = {"id": 1, "data": {"video": "/data/local-files/?d=clip.mp4"}}
    (prediction,) = engine.predict(plan, [task], LabelStudio(url="http://label-studio"))
    assert prediction is not None
    found = [region for region in prediction.regions if region["from_name"] == "weather"]
    assert ranges(found) == expected
    assert all(0.2 < region["score"] < 0.6 for region in found)


@pytest.mark.slow
def test_ranges_are_found_on_the_sample_clip(tmp_path: Path) -> None:
    engine = Engine(Settings(model_dir=tmp_path, local_files_document_root=CLIPS))
    regions = predict(engine, timeline_config(), "passing.mp4")
    truth = truth_of("passing.mp4")
    assert [region["value"]["timelinelabels"] for region in regions] == [["qr_code"], ["barcode"]]
    assert frame_iou(regions, truth, "qr_code") > 0.85
    assert frame_iou(regions, truth, "barcode") > 0.85
