"""The scene generator: the same seed gives the same scene, and its truth is where the ink is."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("segno", reason="pip install -r models/requirements-train.txt")
pytest.importorskip("barcode", reason="pip install -r models/requirements-train.txt")

from scenes import BARCODE, HELD_OUT, LABELS, QR_CODE, TRAINING, Scene, SceneObject, draw_scene
from scenes.backgrounds import HELD_OUT_PHOTOS, TRAINING_PHOTOS
from scenes.codes import BARCODE_SYMBOLOGIES, draw_code
from scenes.datasets import NONE, cut_crops, data_of, label_line, write_datasets

# Plain grounds, so that these tests do without the photos.
PLAIN = {"paper": TRAINING["paper"], "wood": TRAINING["wood"]}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(5, index, families=PLAIN, code_widths=(0.25, 0.5)) for index in range(14)]


@pytest.fixture(scope="module")
def objects(scenes: list[Scene]) -> list[tuple[Scene, SceneObject]]:
    pairs = [(scene, item) for scene in scenes for item in scene.objects]
    assert {item.label for _, item in pairs} == set(LABELS)
    return pairs


def test_same_seed_same_scene() -> None:
    first, again, other = (draw_scene(*seed, families=PLAIN) for seed in [(3, 1), (3, 1), (3, 2)])
    assert np.array_equal(first.image, again.image)
    assert [item.text for item in first.objects] == [item.text for item in again.objects]
    assert other.image.shape != first.image.shape or not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("codes", "least"), [(0, 0), (1, 1), (4, 2)], ids=["empty", "one", "several"])
def test_number_of_codes(codes: int, least: int) -> None:
    scene = draw_scene(8, 1, families=PLAIN, size=(320, 240), codes=codes)
    assert scene.image.shape == (240, 320, 3)
    assert scene.image.dtype == np.uint8
    assert least <= len(scene.objects) <= 2 * codes


def test_training_and_held_out_share_no_background() -> None:
    shared = set(TRAINING) & set(HELD_OUT)
    assert shared == {"photo", "photo again"}
    assert not set(TRAINING_PHOTOS) & set(HELD_OUT_PHOTOS)


def test_corners_boxes_and_masks_agree(objects: list[tuple[Scene, SceneObject]]) -> None:
    for scene, item in objects:
        height, width = scene.image.shape[:2]
        assert item.corners.min() >= 0
        assert (item.corners <= [width, height]).all()
        left, top, right, bottom = item.box
        assert (left, right) == (item.corners[:, 0].min(), item.corners[:, 0].max())
        assert (top, bottom) == (item.corners[:, 1].min(), item.corners[:, 1].max())
        mask = item.mask(height, width)
        assert mask.sum() == pytest.approx(cv2.contourArea(item.corners.astype(np.float32)), rel=0.04)
        rows, columns = np.nonzero(mask)
        assert np.allclose(
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [left, top, right, bottom], atol=1.6
        )
        _, _, wide, high, _ = item.rotated_box
        assert wide * high >= cv2.contourArea(item.corners.astype(np.float32)) * 0.999


def flattened(scene: Scene, item: SceneObject, *, side: int = 300, margin: int = 60) -> np.ndarray:
    """The code seen straight on, ``side`` pixels each way with ``margin`` around it, gray."""
    target = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) + margin
    matrix = cv2.getPerspectiveTransform(item.corners.astype(np.float32) - 0.5, target - 0.5)
    whole = (side + 2 * margin, side + 2 * margin)
    return cv2.cvtColor(cv2.warpPerspective(scene.image, matrix, whole), cv2.COLOR_RGB2GRAY)


def test_qr_codes_read_back_inside_their_corners(objects: list[tuple[Scene, SceneObject]]) -> None:
    """OpenCV's reader finds the text, and the corners in their order, where the truth says: most are sharp enough."""
    codes = [(scene, item) for scene, item in objects if item.label == QR_CODE]
    read = 0
    for scene, item in codes:
        text, points, _ = cv2.QRCodeDetector().detectAndDecode(flattened(scene, item))
        if not text:
            continue
        read += 1
        assert text == item.text
        assert np.abs(points[0] - [[60, 60], [360, 60], [360, 360], [60, 360]]).max() < 300 * 0.04
    assert read >= 0.5 * len(codes) >= 3


def test_barcodes_begin_and_end_with_ink(objects: list[tuple[Scene, SceneObject]]) -> None:
    codes = [(scene, item) for scene, item in objects if item.label == BARCODE]
    assert len(codes) >= 5
    for scene, item in codes:
        flat = flattened(scene, item)[90:330]
        for inside, outside in [(flat[:, 60:63], flat[:, 50:56]), (flat[:, 357:360], flat[:, 364:370])]:
            assert inside.mean() < outside.mean() - 10


def test_every_symbology_is_drawn() -> None:
    rng = np.random.default_rng(0)
    codes = [draw_code(rng, label=BARCODE) for _ in range(80)]
    assert {code.symbology for code in codes} == set(BARCODE_SYMBOLOGIES)
    for code in codes:
        assert code.modules[0, 0]
        assert code.modules[0, -1]
        assert code.print(200, (0, 0, 0), (255, 255, 255)).shape[1] == 200


@pytest.mark.parametrize(
    ("task", "numbers"),
    [
        ("detect", "0.500000 0.375000 0.200000 0.250000"),
        ("segment", "0.400000 0.250000 0.600000 0.250000 0.600000 0.500000 0.400000 0.500000"),
        ("obb", "0.400000 0.250000 0.600000 0.250000 0.600000 0.500000 0.400000 0.500000"),
        (
            "pose",
            "0.500000 0.375000 0.200000 0.250000 "
            "0.400000 0.250000 0.600000 0.250000 0.600000 0.500000 0.400000 0.500000",
        ),
    ],
)
def test_label_line(task: str, numbers: str) -> None:
    corners = np.array([[40.0, 50], [60, 50], [60, 100], [40, 100]])
    item = SceneObject(label=BARCODE, symbology="ean8", text="", corners=corners)
    assert label_line(task, item, 100, 200) == f"1 {numbers}"


def test_crops_are_of_one_class(scenes: list[Scene]) -> None:
    crops = [crop for index, scene in enumerate(scenes) for crop in cut_crops(scene, index)]
    assert {label for label, _ in crops} == {*LABELS, NONE}
    assert all(image.shape[2] == 3 and image.size for _, image in crops)


def test_datasets_of_nothing(tmp_path: Path) -> None:
    write_datasets(tmp_path, seed=1, train=0, held_out=0)
    assert "kpt_shape: [4, 2]" in data_of(tmp_path, "pose").read_text()
    assert data_of(tmp_path, "classify") == tmp_path / "classify"
