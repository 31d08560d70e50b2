"""Small objects in a large picture, with the truth of every one, and the geometry of tiles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from yolo_backend.errors import MediaError
from yolo_backend.inference import Detections, Model, PredictOptions, Tiling
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.inference.detections import SharedMasks
from yolo_backend.inference.tiling import MOST_TILES, View, predict_tiled
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR

sys.path.insert(0, str(PROJECT_DIR / "models"))
from scenes import Scene, draw_sheet

OPTIONS = PredictOptions(confidence=0.5)
NAMES = {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("width", "height", "size", "overlap", "columns", "rows"),
    [
        (640, 480, 640, 0.2, 1, 1),
        (641, 480, 640, 0.2, 2, 1),
        (1280, 1280, 640, 0, 2, 2),
        (4000, 3000, 640, 0.2, 8, 6),
        (100, 3000, 640, 0.5, 1, 9),
        (1, 1, 64, 0.8, 1, 1),
    ],
)
def test_tiles_cover_a_picture(width: int, height: int, size: int, overlap: float, columns: int, rows: int) -> None:
    tiles = Tiling(size, overlap).tiles(width, height)
    assert len(tiles) == columns * rows
    assert {(tile.width, tile.height) for tile in tiles} == {(min(size, width), min(size, height))}
    seen: np.ndarray = np.zeros((height, width), int)
    for tile in tiles:
        assert tile.of(seen).shape == (tile.height, tile.width)
        tile.of(seen)[:] += 1
    assert seen.min() >= 1
    lefts = sorted({tile.left for tile in tiles})
    assert all(left + size - after >= size * overlap - 1 for left, after in pairwise(lefts))


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(MediaError, match=rf'10000 × 10000 pixels .* tiles of model_tile="64".* at most {MOST_TILES}'):
        Tiling(64, 0.2).tiles(10_000, 10_000)


def detections(boxes: Sequence[Sequence[float]], width: int, height: int) -> Detections:
    """Rows of left, top, right, bottom, score, class."""
    rows: np.ndarray = np.array(boxes, float).reshape(-1, 6)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return Detections(
        names=NAMES, width=width, height=height, boxes=rows[:, :4], scores=rows[:, 4], classes=rows[:, 5].astype(int)
    )


class _Seer:
    """Stands in for a model that sees exactly what lies in a view, and all that is cut by its border, in part."""

    def __init__(self, objects: Sequence[Sequence[float]], *, least: float = 0) -> None:
        self.objects, self.least = np.array(objects, float).reshape(-1, 6), least
        self.views: list[View] = []

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Detections]:
        return [self._look(picture) for picture in pictures]

    def _look(self, picture: np.ndarray) -> Detections:
        # The pixels say where the view is.
        top, left = picture[0, 0].tolist()
        height, width = picture.shape[:2]
        self.views.append(View(left, top, width, height))
        seen = self.objects.copy()
        seen[:, :4] = np.clip(seen[:, :4] - np.tile([left, top], 2), 0, np.tile([width, height], 2))
        sides = seen[:, 2:4] - seen[:, :2]
        # Too small for the model, where the view is brought to its size.
        return detections(seen[(sides > max(self.least * max(width, height), 1)).all(1)].tolist(), width, height)


@pytest.mark.parametrize(
    ("objects", "closer"),
    [
        ([], 0),
        ([[10, 10, 60, 60, 0.9, 0]], 0),
        # On the border of two tiles, in whole in neither.
        ([[250, 10, 480, 100, 0.9, 0]], 1),
        # On the corner of four.
        ([[250, 150, 480, 450, 0.9, 0]], 1),
        # Larger than a tile.
        ([[50, 50, 700, 620, 0.9, 0]], 0),
        # Two of two classes at one place, and two of one class that overlap.
        ([[20, 20, 120, 120, 0.9, 0], [20, 20, 120, 120, 0.8, 1], [60, 20, 160, 120, 0.7, 0]], 0),
        ([[350, 20, 450, 120, 0.9, 0], [380, 20, 480, 120, 0.8, 0], [350, 500, 410, 590, 0.7, 1]], 0),
        # In the corner of the picture.
        ([[940, 700, 1000, 800, 0.9, 0]], 0),
    ],
)
@pytest.mark.parametrize("least", [0, 0.12])
def test_every_object_is_found_once(objects: list[list[float]], closer: int, least: float) -> None:
    height, width = 800, 1000
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    seer = _Seer(objects, least=least)
    found = predict_tiled(seer, places, Tiling(400, 0.1), iou=0.7, max_det=300)
    rows = np.column_stack([found.boxes, found.scores, found.classes])
    assert rows.tolist() == sorted(objects, key=lambda row: -row[4])
    assert (found.width, found.height) == (width, height)
    if closer:
        assert len(seer.views) - 1 - len(Tiling(400, 0.1).tiles(width, height)) == closer


def test_a_picture_no_larger_than_a_tile_is_seen_once() -> None:
    seer = _Seer([[1, 2, 30, 40, 0.9, 0]])
    places = np.stack(np.meshgrid(np.arange(100), np.arange(120), indexing="ij"), -1)
    assert len(predict_tiled(seer, places, Tiling(400, 0.2), iou=0.7, max_det=300)) == 1
    assert len(seer.views) == 1


def test_no_more_objects_than_asked_for_the_surest() -> None:
    objects = [[x, 20, x + 40, 60, 0.5 + x / 2000, 0] for x in range(10, 900, 50)]
    places = np.stack(np.meshgrid(np.arange(800), np.arange(1000), indexing="ij"), -1)
    found = predict_tiled(_Seer(objects), places, Tiling(400, 0.2), iou=0.7, max_det=3)
    assert found.scores.tolist() == sorted((row[4] for row in objects), reverse=True)[:3]


@pytest.fixture(scope="module")
def sheet() -> Scene:
    """A photo of 3 megapixels with codes of about 40 to 200 pixels."""
    return draw_sheet(8, size=(2000, 1500), columns=3, rows=3)


@pytest.fixture(scope="module")
def pixels(sheet: Scene) -> np.ndarray:
    return np.ascontiguousarray(sheet.image[..., ::-1])


def matches(found: Detections, sheet: Scene) -> dict[int, int]:
    """Return which object each detection is: by label and the overlap of upright boxes."""
    matched: dict[int, int] = {}
    for number, item in enumerate(sheet.objects):
        sides = np.minimum(item.box[2:], found.boxes[:, 2:]) - np.maximum(item.box[:2], found.boxes[:, :2])
        common = np.clip(sides, 0, None).prod(1)
        areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(1) + (item.box[2:] - item.box[:2]).prod()
        labels = np.array([found.names[kind] for kind in found.classes.tolist()])
        overlaps = common / (areas - common) * (labels == item.label)
        if len(overlaps) and overlaps.max() > 0.5:
            matched[int(overlaps.argmax())] = number
    return matched


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_small_objects_are_found_in_tiles(task: str, sheet: Scene, pixels: np.ndarray) -> None:
    model = Model(load_backend(BUNDLED_MODELS / f"demo-{task}.pt", "cpu", batch_size=8))
    (plain,) = model.predict([pixels], OPTIONS)
    (found,) = model.predict([pixels], replace(OPTIONS, tiling=Tiling(500, 0.2)))
    truths = len(sheet.objects)
    matched = matches(found, sheet)
    assert len(matches(plain, sheet)) < truths / 2
    assert len(matched) > truths * 0.9
    assert len(found) - len(matched) < truths * 0.15
    height, width = pixels.shape[:2]
    for index, number in matched.items():
        item = sheet.objects[number]
        diagonal = float(np.linalg.norm(item.box[2:] - item.box[:2]))
        if found.obb is not None:
            x, y, *_ = item.rotated_box
            assert np.linalg.norm(found.obb[index, :2] - (x, y)) < diagonal / 5
        if found.keypoints is not None:
            assert np.median(np.linalg.norm(found.keypoints[index, :, :2] - item.corners, axis=1)) < diagonal / 4
    if found.masks is not None:
        overlaps = []
        for index, number in matched.items():
            left, top, right, bottom = (sheet.objects[number].box + (-20, -20, 20, 20)).astype(int)
            part = slice(max(top, 0), bottom), slice(max(left, 0), right)
            drawn, truth = found.masks.draw(index, width, height), sheet.objects[number].mask(height, width)
            assert drawn.sum() == drawn[part].sum()
            overlaps.append((drawn[part] & truth[part]).sum() / (drawn[part] | truth[part]).sum())
        assert np.median(overlaps) > 0.85


def test_masks_of_tiles_are_those_of_the_picture() -> None:
    """A picture in the middle of a larger one: the mask that is cut out lies where it lies in the small one."""
    model = Model(load_backend(BUNDLED_MODELS / "demo-segment.pt", "cpu", batch_size=8))
    photo = cv2.imread(str(PROJECT_DIR / "examples" / "images" / "photo-01.jpg"))
    assert photo is not None
    (found,) = model.predict([photo], OPTIONS)
    assert len(found)
    assert isinstance(found.masks, SharedMasks)
    height, width = photo.shape[:2]
    size, corner = np.array([2 * width, 3 * height]), np.array([100, 200])
    for index in range(len(found)):
        small = found.masks.draw(index, width, height)
        cut = found.masks.cut_out(index, corner / size, (width, height) / size)
        large = cut.draw(0, *size.tolist())
        assert (large[200 : 200 + height, 100 : 100 + width] == small).mean() > 0.9999
        assert large.sum() == pytest.approx(small.sum(), rel=0.001)
