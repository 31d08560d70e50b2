"""The geometry of regions, on results whose truth is known because they are made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle

from yolo_backend.controls import ImageControl
from yolo_backend.controls.boxes import about_corner
from yolo_backend.controls.polygon_labels import outline
from yolo_backend.inference import WeightsStore
from yolo_backend.inference.detections import Detections, Masks, SharedMasks
from yolo_backend.inference.postprocess import _hulls
from yolo_backend.inference.preprocess import Letterbox
from yolo_backend.media import Picture
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import Settings
from yolo_backend.tasks import Region

WIDTH, HEIGHT = 800, 400
NAMES = {0: "cat", 1: "dog", 2: "fish"}
LABELS = '<Label value="Cat"/><Label value="Hund" predicted_values="dog"/>'


def result(**found: Any) -> Any:
    """Detections from rows as the YOLO library keeps them: boxes, obb, masks, keypoints, probs."""
    arrays = {key: np.asarray(value, dtype=np.float32) for key, value in found.items()}
    rows = arrays.get("boxes", np.zeros((0, 6)))
    turned = arrays.get("obb")
    if turned is not None:
        rows = np.column_stack([_hulls(turned[:, :5], WIDTH, HEIGHT), turned[:, 5:]])
    return Detections(
        names=NAMES,
        width=WIDTH,
        height=HEIGHT,
        boxes=rows[:, :4],
        scores=rows[:, 4],
        classes=rows[:, 5].astype(int),
        obb=None if turned is None else turned[:, :5],
        keypoints=arrays.get("keypoints"),
        masks=masks(arrays["masks"]) if "masks" in arrays else None,
        probabilities=arrays.get("probs", np.zeros(0)),
    )


def corners_of(box: np.ndarray) -> np.ndarray:
    """(4, 2) corners, in order, of a box given by centre, width, height and radians."""
    x, y, width, height, angle = box
    along = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * height / 2
    return np.array([x, y]) + [along + across, along - across, -along - across, -along + across]


def masks(drawn: np.ndarray) -> Masks:
    """Masks (n, height, width) of 0 and 1, as a model whose prototypes are these would give them."""
    count, height, width = drawn.shape
    return SharedMasks.in_input(
        np.eye(count, dtype=np.float32),
        drawn.astype(np.float32) * 2 - 1,
        Letterbox(width, height, width, height, 0, 0),
        np.tile(np.array([0, 0, 1, 1], float), (count, 1)),
    )


def regions(tag: str, found: Any, *, width: int = WIDTH, height: int = HEIGHT, beside: str = "") -> list[Region]:
    """Return the regions of the one control ``tag``; the result's image may be a smaller copy of the picture."""
    plan = make_plan(f'<View><Image name="i" value="$i"/>{beside}{tag}</View>', Settings())
    assert plan.problems == ()
    (control,) = plan.controls
    assert isinstance(control, ImageControl)
    picture = Picture(pixels=np.zeros((1, 1, 3), np.uint8), width=width, height=height)
    return list(control.regions(found, picture))


def tag(name: str, attributes: str = "", labels: str = LABELS) -> str:
    return f'<{name} name="n" toName="i" {attributes}>{labels}</{name}>'


BOXES = [[80, 40, 240, 240, 0.9, 0], [-10, 380, 80, 500, 0.8, 1], [0, 0, 50, 50, 0.95, 2], [0, 0, 50, 50, 0.4, 0]]
NO_BOXES = np.zeros((0, 6))
NO_OBB = np.zeros((0, 7))


def test_rectangles() -> None:
    first, second = regions(tag("RectangleLabels"), result(boxes=BOXES), width=1600, height=800)
    assert first == {
        "id": "n/0",
        "from_name": "n",
        "to_name": "i",
        "type": "rectanglelabels",
        "value": {"x": 10.0, "y": 10.0, "width": 20.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["Cat"]},
        "score": 0.9,
        "original_width": 1600,
        "original_height": 800,
        "image_rotation": 0,
    }
    # What lies outside of the image is cut off.
    value = second["value"]
    assert [value[key] for key in ("x", "y", "width", "height")] == [0.0, 95.0, 10.0, 5.0]
    assert value["rectanglelabels"] == ["Hund"]


def test_ellipses_touch_the_sides_of_their_boxes() -> None:
    first, _ = regions(tag("EllipseLabels"), result(boxes=BOXES))
    value = {"x": 20.0, "y": 35.0, "radiusX": 10.0, "radiusY": 25.0, "rotation": 0, "ellipselabels": ["Cat"]}
    assert first["value"] == value


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("RectangleLabels", {"boxes": NO_BOXES}),
        ("EllipseLabels", {"boxes": NO_BOXES}),
        ("RectangleLabels", {"obb": NO_OBB}),
        ("PolygonLabels", {"boxes": NO_BOXES}),
        ("BrushLabels", {"boxes": NO_BOXES}),
        ("KeyPointLabels", {"boxes": NO_BOXES, "keypoints": np.zeros((0, 4, 3))}),
        ("Choices", {"probs": [0.2, 0.2, 0.6]}),
        ("Taxonomy", {"probs": [0.4, 0.4, 0.2]}),
    ],
)
def test_nothing_found_is_no_region(name: str, found: dict[str, Any]) -> None:
    labels = LABELS.replace("Label ", "Choice ") if name in ("Choices", "Taxonomy") else LABELS
    assert regions(tag(name, labels=labels), result(**found)) == []


def corners(value: dict[str, Any]) -> np.ndarray:
    """Return the corners (4, 2) in pixels of a rectangle as Label Studio draws it: turned about (x, y), in pixels."""
    x, y = value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100
    w, h = value["width"] * WIDTH / 100, value["height"] * HEIGHT / 100
    angle = np.radians(value["rotation"])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ turn + (x, y)


ANGLES = [0.0, 0.1, np.pi / 6, np.pi / 2 - 0.01, np.pi / 2, 3 * np.pi / 4, -np.pi / 4]


@pytest.mark.parametrize("angle", ANGLES)
def test_rotated_rectangles_are_where_label_studio_draws_them(angle: float) -> None:
    found = result(obb=[[400, 200, 200, 60, angle, 0.9, 0]])
    (region,) = regions(tag("RectangleLabels", 'model_obb="true"'), found)
    truth = corners_of(found.obb[0])
    drawn = corners(region["value"])
    distances = np.linalg.norm(truth[:, None] - drawn[None], axis=2)
    assert distances.min(1).max() < 0.05
    assert distances.min(0).max() < 0.05


@pytest.mark.parametrize("angle", ANGLES)
def test_rotated_ellipses_have_the_axes_of_their_boxes(angle: float) -> None:
    (region,) = regions(tag("EllipseLabels", 'model_obb="true"'), result(obb=[[400, 200, 200, 60, angle, 0.9, 0]]))
    value = region["value"]
    assert (value["x"], value["y"]) == (50, 50)
    radii = value["radiusX"] * WIDTH / 100, value["radiusY"] * HEIGHT / 100
    # The library may give a box as the same box turned by a right angle, with its sides swapped.
    assert sorted(radii) == pytest.approx([30, 100], abs=0.01)
    long_axis = value["rotation"] + (0 if radii[0] > radii[1] else 90)
    assert (long_axis - np.degrees(angle)) % 180 == pytest.approx(0, abs=0.01) or (
        long_axis - np.degrees(angle)
    ) % 180 == pytest.approx(180, abs=0.01)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("name", ["RectangleLabels", "EllipseLabels"])
@pytest.mark.parametrize(("width", "height"), [(30, 600), (600, 30), (790, 30), (380, 380)])
def test_long_boxes_have_no_number_that_label_studio_refuses(
    name: str, width: float, height: float, angle: float
) -> None:
    found = result(obb=[[400, 200, width, height, angle, 0.9, 0]])
    (region,) = regions(tag(name, 'model_obb="true"'), found)
    value = region["value"]
    assert max(value[key] for key in ("x", "y", "width", "height") if key in value) <= 100
    if name == "EllipseLabels":
        assert max(value["radiusX"], value["radiusY"]) <= 50
        return
    distances = np.linalg.norm(corners_of(found.obb[0])[:, None] - corners(value)[None], axis=2)
    assert distances.min(1).max() < 0.05


def test_what_no_turn_makes_acceptable_is_cut_off() -> None:
    """A box of 800 x 200 pixels from corner to corner of a square image."""
    boxes = np.array([[50.0, 50, 125, 25, 45]])
    ((*corner, width, height, _),) = about_corner(boxes, aspect=1).tolist()
    assert max(corner) <= 100
    assert (width, height) == (100, 25)


def test_oriented_weights_give_upright_boxes_to_a_plain_tag() -> None:
    (region,) = regions(tag("RectangleLabels"), result(obb=[[400, 200, 200, 60, np.pi / 2, 0.9, 0]]))
    value = region["value"]
    assert [value[key] for key in ("x", "y", "width", "height", "rotation")] == pytest.approx(
        [100 * 370 / 800, 25, 100 * 60 / 800, 50, 0], abs=0.01
    )


def test_plain_weights_give_unrotated_boxes_under_model_obb_and_say_so() -> None:
    xml = tag("RectangleLabels", 'model_obb="true"')
    (region, _) = regions(xml, result(boxes=BOXES))
    (plain, _) = regions(tag("RectangleLabels"), result(boxes=BOXES))
    for key in ("x", "y", "width", "height", "rotation"):
        assert region["value"][key] == pytest.approx(plain["value"][key], abs=1e-3)
    (control,) = make_plan(f'<View><Image name="i" value="$i"/>{xml}</View>', Settings()).controls
    assert "know no rotation" in control.problems_with("detect")[0]
    assert control.problems_with("obb") == []


def test_no_boxes_to_turn() -> None:
    assert about_corner(np.zeros((0, 5)), aspect=2).shape == (0, 5)


def disk(radius: int, centre: tuple[int, int], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2).astype(np.uint8)


def fill(points: Sequence[Sequence[float]], width: int, height: int) -> np.ndarray:
    """Return the mask (height, width) of a polygon in percent, as an editor would fill it."""
    import cv2

    fine = 8
    mask = np.zeros((height * fine, width * fine), np.uint8)
    cv2.fillPoly(mask, [np.round(np.array(points) / 100 * (width * fine, height * fine) - 0.5).astype(np.int32)], 1)
    return cv2.resize(mask * 255, (width, height), interpolation=cv2.INTER_AREA) > 127


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one.astype(bool) & other.astype(bool)).sum() / (one.astype(bool) | other.astype(bool)).sum())


@pytest.mark.parametrize("radius", [8, 30, 150])
def test_polygons_keep_the_area_with_few_points(radius: int) -> None:
    mask = disk(radius, (300, 200))
    found = result(boxes=[[300 - radius, 200 - radius, 300 + radius, 200 + radius, 0.9, 0]], masks=mask[None])
    (region,) = regions(tag("PolygonLabels"), found)
    (full,) = regions(tag("PolygonLabels", 'model_simplify="0"'), found)
    assert region["value"]["closed"] is True
    points = region["value"]["points"]
    assert len(points) < len(full["value"]["points"]) / 3
    assert iou(fill(points, WIDTH, HEIGHT), mask) >= (0.97 if radius > 10 else 0.9)
    assert iou(fill(full["value"]["points"], WIDTH, HEIGHT), mask) >= (0.98 if radius > 10 else 0.93)


def test_an_object_in_pieces_gets_its_largest_outline() -> None:
    mask = disk(60, (200, 200)) | disk(20, (400, 200))
    found = result(boxes=[[140, 140, 420, 260, 0.9, 0]], masks=mask[None])
    (region,) = regions(tag("PolygonLabels"), found)
    assert iou(fill(region["value"]["points"], WIDTH, HEIGHT), disk(60, (200, 200))) > 0.97


@pytest.mark.parametrize(
    ("mask", "points"),
    [
        (np.zeros((10, 10)), 0),
        (np.ones((4, 6)), 4),
        # Thinner than two pixels there is no shape; such an object is dropped.
        (np.pad(np.ones((1, 1)), 5), 2),
        (np.pad(np.ones((1, 8)), 2), 2),
    ],
)
def test_outlines_of_tiny_masks(mask: np.ndarray, points: int) -> None:
    found = outline(mask, tolerance=0.005)
    assert len(found) == points
    assert ((found >= 0) & (found <= mask.shape[::-1])).all()


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (1600, 800), (1000, 1000), (1, 400)])
def test_brushes_read_back_are_the_mask_at_full_size(size: tuple[int, int]) -> None:
    width, height = size
    mask = disk(90, (300, 200))
    found = result(boxes=[[210, 110, 390, 290, 0.9, 1]], masks=mask[None])
    got = regions(tag("BrushLabels"), found, width=width, height=height)
    truth = cv2.resize(mask.astype(np.float32), size) > 0.5
    if not truth.any():
        assert got == []
        return
    (region,) = got
    assert region["value"]["format"] == "rle"
    assert region["value"]["brushlabels"] == ["Hund"]
    decoded = np.reshape(decode_rle(region["value"]["rle"]), (height, width, 4))[:, :, 3]
    assert iou(decoded, truth) > 0.99
    assert truth.mean() == pytest.approx(mask.mean(), rel=0.02)


POSE = [[[120, 80, 0.9], [200, 80, 0.2], [200, 200, 0.8]], [[400, 100, 0.9], [500, 100, 0.9], [500, 200, 0.9]]]
POSE_BOXES = [[80, 40, 240, 240, 0.9, 0], [360, 60, 540, 240, 0.7, 1]]
POINTS = (
    '<Label value="left" model_index="0"/><Label value="right" model_index="1" predicted_values="cat, DOG"/>'
    '<Label value="tail" predicted_values="dog" model_index="2"/><Label value="beyond" model_index="9"/>'
)


def test_key_points_belong_to_classes_and_must_be_visible() -> None:
    got = regions(tag("KeyPointLabels", labels=POINTS), result(boxes=POSE_BOXES, keypoints=POSE))
    assert [(r["value"]["keypointlabels"], r["value"]["x"], r["value"]["y"]) for r in got] == [
        (["left"], 15.0, 20.0),
        (["left"], 50.0, 25.0),
        (["right"], 62.5, 25.0),
        (["tail"], 62.5, 50.0),
    ]
    assert all(r["type"] == "keypointlabels" and r["value"]["width"] == 1.25 for r in got)
    assert len({r["id"] for r in got}) == len(got)
    assert not any("parentID" in r for r in got)


def test_key_points_without_visibility_are_all_kept() -> None:
    points = np.array(POSE)[:, :, :2]
    got = regions(tag("KeyPointLabels", 'model_point_size="8"', POINTS), result(boxes=POSE_BOXES, keypoints=points))
    assert [r["value"]["keypointlabels"][0] for r in got] == ["left", "right", "left", "right", "tail"]
    assert got[0]["value"]["width"] == 1.0


def test_key_points_name_the_box_of_their_object() -> None:
    boxes = '<RectangleLabels name="b" toName="i"><Label value="Hund" predicted_values="dog"/></RectangleLabels>'
    got = regions(tag("KeyPointLabels", labels=POINTS), result(boxes=POSE_BOXES, keypoints=POSE), beside=boxes)
    drawn = [r for r in got if r["type"] == "rectanglelabels"]
    assert [(r["from_name"], r["value"]["rectanglelabels"], r["value"]["x"]) for r in drawn] == [("b", ["Hund"], 45.0)]
    children = [r["value"]["keypointlabels"][0] for r in got if r.get("parentID") == drawn[0]["id"]]
    assert children == ["left", "right", "tail"]
    without = tag("KeyPointLabels", 'model_add_bboxes="false"', POINTS)
    plan = make_plan(f'<View><Image name="i" value="$i"/>{boxes}{without}</View>', Settings())
    assert [control.name for control in plan.controls] == ["b", "n"]


def test_an_object_without_sure_points_keeps_its_box() -> None:
    boxes = '<RectangleLabels name="b" toName="i" model_score_threshold="0.2"><Label value="dog"/></RectangleLabels>'
    unsure = np.array(POSE)
    unsure[1, :, 2] = 0.1
    got = regions(tag("KeyPointLabels", labels=POINTS), result(boxes=POSE_BOXES, keypoints=unsure), beside=boxes)
    assert [(r["from_name"], r["score"]) for r in got] == [("n", 0.9), ("b", 0.7)]
    weak = [POSE_BOXES[0], [*POSE_BOXES[1][:4], 0.3, 1]]
    got = regions(tag("KeyPointLabels", labels=POINTS), result(boxes=weak, keypoints=POSE), beside=boxes)
    assert [(r["from_name"], r["score"]) for r in got] == [("n", 0.9), ("b", 0.3)]


def test_labels_of_points_beside_labels_of_boxes() -> None:
    """In one <Labels> for both, those without an index are no points."""
    labels = '<Label value="dog"/><Label value="cat"/><Label value="nose" model_index="0"/>'
    beside = f'<Labels name="l" toName="i">{labels}</Labels>'
    got = regions('<KeyPoint name="n" toName="i"/>', result(boxes=POSE_BOXES, keypoints=POSE), beside=beside)
    assert [r["value"]["labels"] for r in got if r["type"] == "labels"] == [["nose"], ["nose"]]


def problems_of(xml: str) -> tuple[str, ...]:
    return make_plan(f'<View><Image name="i" value="$i"/>{xml}</View>', Settings()).problems


def test_a_point_goes_to_one_label() -> None:
    labels = (
        '<Label value="nose" model_index="0" predicted_values="cat"/>'
        '<Label value="snout" model_index="0" predicted_values="dog, cat"/>'
    )
    xml = tag("KeyPointLabels", labels=labels)
    (problem,) = problems_of(xml)
    assert problem.endswith("label 'snout': point 0 goes to 'nose' where both want it")
    (control,) = make_plan(f'<View><Image name="i" value="$i"/>{xml}</View>', Settings()).controls
    assert isinstance(control, ImageControl)
    picture = Picture(pixels=np.zeros((1, 1, 3), np.uint8), width=WIDTH, height=HEIGHT)
    got = list(control.regions(result(boxes=POSE_BOXES, keypoints=POSE), picture))
    assert [r["value"]["keypointlabels"] for r in got] == [["nose"], ["snout"]]


def test_points_that_the_weights_do_not_have_are_named() -> None:
    xml = tag("KeyPointLabels", labels=POINTS)
    (control,) = make_plan(f'<View><Image name="i" value="$i"/>{xml}</View>', Settings()).controls
    (problem,) = control.problems_with("pose", 3)
    assert problem.endswith("label 'beyond': the weights have 3 points, and model_index is 9; it counts from 0")


def test_a_tag_for_rotated_boxes_is_not_for_the_boxes_of_points() -> None:
    beside = tag("RectangleLabels", 'model_obb="true"').replace('"n"', '"b"')
    plan = make_plan(f'<View><Image name="i" value="$i"/>{beside}{tag("KeyPointLabels")}</View>', Settings())
    assert [control.name for control in plan.controls] == ["b", "n"]


def test_a_point_is_no_larger_than_a_narrow_image() -> None:
    got = regions(tag("KeyPointLabels", 'model_point_size="1000"'), result(boxes=POSE_BOXES, keypoints=POSE), width=5)
    assert {r["value"]["width"] for r in got} == {100}


@pytest.mark.parametrize("shape", ["Rectangle", "Ellipse", "Polygon", "Brush", "KeyPoint"])
def test_shape_and_label_in_two_tags_share_an_id(shape: str) -> None:
    mask = disk(60, (160, 140))
    found = result(boxes=[BOXES[0]], masks=mask[None], keypoints=POSE[:1])
    xml = f'<{shape} name="n" toName="i"/>'
    beside = '<Labels name="l" toName="i"><Label value="Cat"/></Labels>'
    drawn, labelled = regions(xml, found, beside=beside)
    assert drawn["id"] == labelled["id"]
    assert (drawn["from_name"], drawn["type"]) == ("n", shape.lower())
    assert (labelled["from_name"], labelled["type"]) == ("l", "labels")
    assert labelled["value"] == {**drawn["value"], "labels": ["Cat"]}


CHOICES = '<Choice value="Cat"/><Choice value="Hund" predicted_values="dog"/>'


@pytest.mark.parametrize(
    ("probabilities", "attributes", "expected", "score"),
    [
        ([0.7, 0.2, 0.1], "", ["Cat"], 0.7),
        # Only mapped classes compete.
        ([0.05, 0.35, 0.6], 'model_score_threshold="0.3"', ["Hund"], 0.35),
        ([0.45, 0.35, 0.2], 'model_score_threshold="0.3" choice="single-radio"', ["Cat"], 0.45),
        ([0.45, 0.35, 0.2], 'model_score_threshold="0.3" choice="multiple"', ["Cat", "Hund"], 0.4),
    ],
)
def test_choices(probabilities: list[float], attributes: str, expected: list[str], score: float) -> None:
    (region,) = regions(tag("Choices", attributes, CHOICES), result(probs=probabilities))
    assert region == {
        "id": "n/0",
        "from_name": "n",
        "to_name": "i",
        "type": "choices",
        "value": {"choices": expected},
        "score": pytest.approx(score, abs=1e-3),
    }


NESTED = f'<Choice value="Pet">{CHOICES}</Choice><Choice value="Fish"/>'


@pytest.mark.parametrize(
    ("attributes", "inside", "expected"),
    [
        ('allowNested="true"', NESTED, [["Pet", "Hund"]]),
        ('allownested="true" choice="multiple" model_score_threshold="0.2"', NESTED, [["Pet", "Hund"], ["Fish"]]),
        ('allowNested="true"', '<Choice value="dog"/>', [["dog"]]),
        ('allowNested="true"', NESTED.replace('value="Pet"', 'value="Pet" alias="pet"'), [["pet", "Hund"]]),
        # A choice with others in it is ticked where all of those are: no class of a model says that.
        ('allowNested="true"', NESTED.replace('value="Pet"', 'value="dog"'), [["dog", "Hund"]]),
    ],
)
def test_nested_choices_are_paths(attributes: str, inside: str, expected: list[object]) -> None:
    (region,) = regions(tag("Choices", attributes, inside), result(probs=[0.05, 0.65, 0.3]))
    assert region["value"] == {"choices": expected}


def test_choices_that_are_not_shown_are_left_out() -> None:
    xml = tag("Choices", 'allowNested="false"', f'{NESTED}<Choice value="dog"/>')
    (control,) = make_plan(f'<View><Image name="i" value="$i"/>{xml}</View>', Settings()).controls
    assert [label.value for label in control.labels] == ["Pet", "Fish", "dog"]


@pytest.mark.parametrize(
    ("attributes", "inside", "words"),
    [
        ("", NESTED, ["label 'Cat' left out: a choice in a choice is not shown", "label 'Hund' left out"]),
        ('allowNested="true"', NESTED, []),
        (
            'allowNested="true"',
            NESTED.replace('value="Pet"', 'value="Pet" predicted_values="dog"'),
            ["label 'Pet' left out: it is ticked where all choices in it are"],
        ),
    ],
)
def test_choices_that_the_editor_would_not_tick_are_named(attributes: str, inside: str, words: list[str]) -> None:
    problems = problems_of(tag("Choices", attributes, inside))
    assert len(problems) == len(words)
    assert all(expected in problem for expected, problem in zip(words, problems, strict=True))


def test_nesting_changes_the_version_of_choices() -> None:
    xml = [
        f'<View><Image name="i" value="$i"/>{tag("Choices", nested, CHOICES)}</View>'
        for nested in ("", 'allowNested="true"')
    ]
    weights = WeightsStore(Settings())
    assert len({make_plan(config, Settings()).model_version(weights) for config in xml}) == 2


def test_what_is_about_an_item_says_which_though_there_is_but_one() -> None:
    (region,) = regions(tag("Choices", 'perItem="true"', CHOICES), result(probs=[0.9, 0.1, 0.0]))
    assert region["item_index"] == 0


@pytest.mark.parametrize("kind", ["Choices", "Taxonomy"])
@pytest.mark.parametrize(
    ("attributes", "image", "words"),
    [
        ('perRegion="true"', 'value="$i"', "what a region is"),
        ('perregion="True" whenLabelValue="Cat"', 'value="$i"', "what a region is"),
        ("", 'valueList="$i"', 'needs perItem="true"'),
        ('perRegion="false"', 'value="$i"', None),
        ('perItem="true"', 'valueList="$i"', None),
        ('perRegion="true" model_skip="true"', 'value="$i"', "no tag"),
    ],
)
def test_what_does_not_say_what_an_image_is_is_left_out(
    kind: str, attributes: str, image: str, words: str | None
) -> None:
    plan = make_plan(f'<View><Image name="i" {image}/>{tag(kind, attributes, CHOICES)}</View>', Settings())
    if words is None:
        assert (len(plan.controls), plan.problems) == (1, ())
    else:
        assert plan.controls == ()
        (problem,) = plan.problems
        assert words in problem


def test_taxonomy_is_the_path_to_the_node() -> None:
    tree = '<Choice value="Animal"><Choice value="Pet"><Choice value="dog"/><Choice value="cat"/></Choice></Choice>'
    (region,) = regions(tag("Taxonomy", labels=tree), result(probs=[0.9, 0.1, 0.0]))
    assert region["type"] == "taxonomy"
    assert region["value"] == {"taxonomy": [["Animal", "Pet", "cat"]]}


def test_branches_of_a_taxonomy_need_no_class() -> None:
    tree = '<Choice value="Animal"><Choice value="dog"/><Choice value="unicorn"/></Choice>'
    (control,) = make_plan(
        f'<View><Image name="i" value="$i"/>{tag("Taxonomy", labels=tree)}</View>', Settings()
    ).controls
    problems = " ".join(control.class_problems(NAMES))
    assert "'unicorn'" in problems
    assert "'Animal'" not in problems


def test_taxonomy_tells_nodes_of_one_name_apart() -> None:
    tree = (
        '<Choice value="Animals"><Choice value="Other" predicted_values="bird"/></Choice>'
        '<Choice value="Pets"><Choice value="Other" predicted_values="dog"/></Choice>'
    )
    (region,) = regions(tag("Taxonomy", labels=tree), result(probs=[0.1, 0.9, 0.0]))
    assert region["value"] == {"taxonomy": [["Pets", "Other"]]}


@pytest.mark.parametrize("angle", [*ANGLES, np.radians(170), np.radians(-100)])
@pytest.mark.parametrize("centre", [(400, 200), (768, 200), (30, 390), (770, 10)])
def test_the_corner_of_a_rotated_box_is_where_label_studio_takes_it(angle: float, centre: tuple[int, int]) -> None:
    boxes = np.array([[centre[0] / 8, centre[1] / 4, 10, 4, np.degrees(angle)]])
    (turned,) = about_corner(boxes, aspect=2)
    assert -5 <= turned[0] <= 100
    assert -5 <= turned[1] <= 100
    middle = corners(dict(zip(("x", "y", "width", "height", "rotation"), turned, strict=True))).mean(0)
    assert middle == pytest.approx(centre, abs=2)


def test_three_hundred_objects() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 300, (300, 2))
    boxes = np.hstack(
        [corner, corner + rng.uniform(5, 90, (300, 2)), rng.uniform(0.5, 1, (300, 1)), np.zeros((300, 1))]
    )
    got = regions(tag("RectangleLabels"), result(boxes=boxes))
    assert len(got) == 300
    assert len({region["id"] for region in got}) == 300
