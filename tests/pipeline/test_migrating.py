"""The labeling configs that Label Studio's YOLO example documents: each does here what it did there, or says what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from yolo_backend.controls import Control
from yolo_backend.controls.key_point_labels import KeyPointLabels
from yolo_backend.controls.video_rectangle import VideoRectangle
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings

IMAGE = '<Image name="image" value="$image"/>'
VIDEO = '<Video name="video" value="$video"/>'
CAR = '<Label value="Car" predicted_values="jeep,cab,limousine,truck"/>'
PEOPLE = '<Label value="Person" background="red"/><Label value="Car" background="blue"/>'
LABELS = f'<Labels name="label" toName="video">{PEOPLE}</Labels>'


def joints(*names: str) -> str:
    return "".join(f'<Label value="{n}" predicted_values="person" model_index="{JOINTS.index(n)}"/>' for n in names)


JOINTS = ("nose", "left_eye", "right_eye", "left_shoulder", "left_elbow", "right_shoulder", "right_elbow", "left_hip")
# Limbs are in views of their own there.
SKELETON = (
    f"{joints(*JOINTS[:3])}<View>{joints(*JOINTS[3:5])}{joints(*JOINTS[5:7])}</View><View>{joints(JOINTS[7])}</View>"
)
BOXES = (
    '<RectangleLabels name="keypoints_bbox" toName="image" model_skip="true"><Label value="person"/></RectangleLabels>'
)
LEARNING = """model_classifier_epochs="1000" model_classifier_sequence_size="64" model_classifier_hidden_size="32"
    model_classifier_num_layers="1" model_classifier_f1_threshold="0.95" model_classifier_accuracy_threshold="0.99" """


def rectangles(attributes: str = "", labels: str = PEOPLE, name: str = "label", to: str = "image") -> str:
    return f'<RectangleLabels name="{name}" toName="{to}" {attributes}>{labels}</RectangleLabels>'


def choices(attributes: str = "", inside: str = '<Choice value="Jeep"/>', to: str = "image") -> str:
    return f'<Choices name="choice" toName="{to}" {attributes}>{inside}</Choices>'


def points(attributes: str = "") -> str:
    return f'<KeyPointLabels name="keypoints" toName="image" {attributes}>{SKELETON}</KeyPointLabels>'


def tracked(attributes: str) -> str:
    return f'{VIDEO}<VideoRectangle name="box" toName="video" {attributes}/>{LABELS}'


def timeline(attributes: str, labels: str = '<Label value="Ball" predicted_values="soccer_ball"/>') -> str:
    return f'<TimelineLabels name="label" toName="video" {attributes}>{labels}</TimelineLabels>{VIDEO}'


AIRPLANES = (
    '<Choice value="Airplane" predicted_values="aircraft_carrier,airliner,airship,warplane"/>'
    '<Choice value="Car" predicted_values="limousine,minivan,jeep,sports_car,passenger_car,police_van"/>'
)


@pytest.mark.parametrize(
    ("xml", "filled", "problems"),
    [
        pytest.param(IMAGE + rectangles('score_threshold="0.25"', CAR), {"label": 0.25}, (), id="quick start, before"),
        pytest.param(IMAGE + rectangles('model_score_threshold="0.25"', CAR), {"label": 0.25}, (), id="quick start"),
        pytest.param(
            IMAGE + rectangles() + choices('model_skip="true"'), {"label": 0.5}, (), id="a tag that is skipped"
        ),
        pytest.param(
            '<Image name="image1" value="$image"/><Image name="image2" value="$image"/>'
            + rectangles('model_score_threshold="0.1"', to="image1")
            + choices('model_score_threshold="0.1"', '<Choice value="airship"/>', to="image2"),
            {"label": 0.1, "choice": 0.1},
            (),
            id="mixed tags",
        ),
        pytest.param(
            IMAGE
            + rectangles('model_path="yolov8n.pt" model_score_threshold="0.1"', name="label1")
            + rectangles('model_path="yolov8m.pt" model_score_threshold="0.1"', name="label2"),
            {"label1": 0.1, "label2": 0.1},
            (),
            id="two models compared",
        ),
        pytest.param(IMAGE + choices(), {"choice": 0.5}, (), id="the class of the label's name"),
        pytest.param(
            IMAGE + choices("", '<Choice value="Car" predicted_values="jeep,cab,limousine"/>'),
            {"choice": 0.5},
            (),
            id="classes that are mapped",
        ),
        pytest.param(
            IMAGE + rectangles('model_path="my_custom_model.pt" model_score_threshold="0.25"'),
            {"label": 0.25},
            (),
            id="custom weights",
        ),
        pytest.param(
            IMAGE + choices('model_score_threshold="0.25"', AIRPLANES), {"choice": 0.25}, (), id="classification"
        ),
        pytest.param(
            IMAGE + choices('model_score_threshold="0.25" choice="multiple"', AIRPLANES),
            {"choice": 0.25},
            (),
            id="several choices",
        ),
        pytest.param(
            IMAGE + rectangles('model_score_threshold="0.25" opacity="0.1"'), {"label": 0.25}, (), id="detection"
        ),
        pytest.param(
            IMAGE + rectangles('model_score_threshold="0.25" model_obb="true"'), {"label": 0.25}, (), id="rotated boxes"
        ),
        pytest.param(
            f'{IMAGE}<PolygonLabels name="label" toName="image" model_score_threshold="0.25" opacity="0.1">{PEOPLE}'
            "</PolygonLabels>",
            {"label": 0.25},
            (),
            id="segmentation",
        ),
        pytest.param(
            BOXES
            + points(
                'model_score_threshold="0.75" model_point_threshold="0.5" model_add_bboxes="true" model_point_size="1" '
                'model_path="yolov8n-pose.pt"'
            )
            + IMAGE,
            {"keypoints": 0.75},
            (),
            id="key points",
        ),
        pytest.param(
            points('model_score_threshold="0.75" model_point_threshold="0.5" model_add_bboxes="false"') + IMAGE,
            {"keypoints": 0.75},
            (),
            id="key points without boxes",
        ),
        pytest.param(
            tracked('model_tracker="botsort" model_conf="0.25" model_iou="0.7"'), {"box": 0.25}, (), id="tracking"
        ),
        pytest.param(tracked('model_tracker="bytetrack"'), {"box": 0.5}, (), id="another tracker"),
        pytest.param(
            tracked('model_tracker="botsort" botsort_track_low_thresh="0.1" botsort_track_high_thresh="0.2"'),
            {"box": 0.5},
            (),
            id="parameters of a tracker",
        ),
        pytest.param(
            tracked('model_tracker="mine"'),
            {"box": 0.5},
            ("model_tracker='mine' is ignored", "attributes such as botsort_track_buffer"),
            id="a tracker of one's own",
        ),
        pytest.param(
            timeline('model_trainable="false" model_score_threshold="0.25"'), {"label": 0.25}, (), id="timeline, simple"
        ),
        pytest.param(
            timeline(f'model_trainable="true" {LEARNING} model_score_threshold="0.5"', '<Label value="Ball touch"/>'),
            {"label": 0.5},
            ("model_trainable is ignored", "name classes of the model in predicted_values"),
            id="timeline, trainable",
        ),
        pytest.param(timeline("", '<Label value="Ball in frame"/>'), {"label": 0.5}, (), id="timeline, use case"),
    ],
)
def test_documented_configs(xml: str, filled: Mapping[str, float], problems: tuple[str, ...]) -> None:
    plan = make_plan(f"<View>{xml}</View>", Settings())
    assert {control.name: set(control.label_thresholds) for control in plan.controls} == {
        name: {threshold} for name, threshold in filled.items()
    }
    # One line says all.
    assert len(plan.problems) == (1 if problems else 0)
    assert all(words in plan.problems[0] for words in problems)


def control_of(xml: str) -> Control:
    (control,) = make_plan(f"<View>{xml}</View>", Settings()).controls
    return control


@pytest.mark.parametrize(
    ("boxes", "held", "threshold"),
    [
        ("", None, None),
        # Left to people, but for the boxes of the points, which come from the points' threshold.
        ('name="keypoints_bbox" model_skip="true"', "keypoints_bbox", 0.75),
        ('name="keypoints_bbox" model_skip="true" model_score_threshold="0.2"', "keypoints_bbox", 0.2),
        ('name="keypoints_bbox" model_skip="true" score_threshold="0.2"', "keypoints_bbox", 0.2),
        ('name="keypoints_bbox" model_skip="true" model_path="other.pt" model_obb="true"', "keypoints_bbox", 0.75),
        ('name="keypoints_bbox"', "keypoints_bbox", 0.5),
        ('name="keypoints_bbox" model_path="other.pt"', None, None),
        ('name="boxes"', "boxes", 0.5),
        ('name="boxes" model_skip="true"', None, None),
        ('name="keypoints" model_skip="true"', None, None),
        ('name="other_bbox" model_skip="true"', None, None),
    ],
)
def test_which_tag_holds_the_boxes_of_key_points(boxes: str, held: str | None, threshold: float | None) -> None:
    tag = f'<RectangleLabels toName="image" {boxes}><Label value="person"/></RectangleLabels>' if boxes else ""
    other = rectangles(labels='<Label value="person"/>', name="first") if held == "keypoints_bbox" else ""
    xml = IMAGE + other + tag + points('model_score_threshold="0.75"')
    plan = make_plan(f"<View>{xml}</View>", Settings())
    (control,) = [control for control in plan.controls if isinstance(control, KeyPointLabels)]
    if held is None:
        assert control.boxes is None
        return
    assert control.boxes is not None
    assert (control.boxes.name, control.boxes.label_thresholds) == (held, (threshold,))
    assert held not in {control.name for control in plan.controls}


def test_boxes_that_are_not_wanted_stay_away() -> None:
    control = control_of(f"{IMAGE}{BOXES}{points('model_add_bboxes=' + chr(34) + 'false' + chr(34))}")
    assert isinstance(control, KeyPointLabels)
    assert control.boxes is None


def test_a_shape_beside_labels_holds_the_boxes_as_well() -> None:
    control = control_of(
        f'{IMAGE}<Labels name="kind" toName="image"><Label value="person"/></Labels>'
        f'<Rectangle name="keypoints_bbox" toName="image" model_skip="true"/>{points()}'
    )
    assert isinstance(control, KeyPointLabels)
    assert control.boxes is not None
    assert control.boxes.labels_name == "kind"


@pytest.mark.parametrize(
    ("attributes", "threshold", "least"),
    [
        ("", 0.5, 0.1),
        ('model_conf="0.25"', 0.25, 0.25),
        ('model_conf="0.7"', 0.5, 0.7),
        ('model_conf="0.25" model_score_threshold="0.4"', 0.4, 0.25),
        ('model_conf="0.25" score_threshold="0.6"', 0.6, 0.25),
    ],
)
def test_what_is_sure_enough_to_be_followed_is_sure_enough_to_be_kept(
    attributes: str, threshold: float, least: float
) -> None:
    control = control_of(tracked(attributes))
    assert isinstance(control, VideoRectangle)
    assert (control.label_thresholds, control.confidence) == ((threshold, threshold), least)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    images = PROJECT_DIR / "examples" / "images"
    return Engine(
        Settings(
            model_dir=tmp_path_factory.mktemp("data"), local_files_document_root=images, batch_size=2, runtime="pytorch"
        )
    )


CORNERS = "".join(
    f'<Label value="corner {index}" predicted_values="qr_code" model_index="{index}"/>' for index in range(4)
)


def predicted(engine: Engine, weights: str = "demo-pose.pt", threshold: float = 0.5) -> list[dict[str, Any]]:
    xml = f"""<View>
        <RectangleLabels name="keypoints_bbox" toName="image" model_skip="true"><Label value="qr_code"/></RectangleLabels>
        <KeyPointLabels name="keypoints" toName="image" model_path="{weights}" model_score_threshold="{threshold}"
          model_point_threshold="0.0">{CORNERS}</KeyPointLabels>
        <RectangleLabels name="other" toName="image" model_path="demo-detect.pt"><Label value="barcode"/></RectangleLabels>
        <Image name="image" value="$image"/>
    </View>"""
    task = {"id": 1, "data": {"image": "/data/local-files/?d=photo-07.jpg"}}
    (prediction,) = engine.predict(engine.plan(xml), [task], LabelStudio(url=None))
    assert prediction is not None
    return prediction.regions


def test_key_points_come_with_their_boxes(engine: Engine) -> None:
    found = predicted(engine)
    boxes = {region["id"]: region for region in found if region["from_name"] == "keypoints_bbox"}
    corners = [region for region in found if region["from_name"] == "keypoints"]
    assert boxes
    assert {region["value"]["rectanglelabels"][0] for region in boxes.values()} == {"qr_code"}
    assert len(corners) == 4 * len(boxes)
    for corner in corners:
        box, point = boxes[corner["parentID"]]["value"], corner["value"]
        assert box["x"] - 5 <= point["x"] <= box["x"] + box["width"] + 5
        assert box["y"] - 5 <= point["y"] <= box["y"] + box["height"] + 5


def test_a_weak_object_has_neither_points_nor_box(engine: Engine) -> None:
    assert {region["from_name"] for region in predicted(engine, threshold=0.999)} == {"other"}


def test_what_is_left_to_people_is_not_filled_in_without_points(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert {region["from_name"] for region in predicted(engine, weights="demo-detect.pt")} == {"other"}
    assert '<KeyPointLabels name="keypoints"> left out: it needs weights for pose' in caplog.text
