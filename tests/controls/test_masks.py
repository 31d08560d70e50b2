"""Polygons and brushes against the masks that the bundled weights really find."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle

from yolo_backend.controls import ImageControl
from yolo_backend.inference import Detections, Model, PredictOptions
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.media import Picture
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR, Settings
from yolo_backend.tasks import Region

PHOTOS = ("photo-01.jpg", "photo-07.jpg", "photo-18.jpg", "photo-19.jpg")
LABELS = '<Label value="qr_code"/><Label value="barcode"/>'


@pytest.fixture(scope="module")
def found() -> list[tuple[Picture, Detections]]:
    model = Model(load_backend(BUNDLED_MODELS / "demo-segment.pt", "cpu", batch_size=8))
    pixels = [read(PROJECT_DIR / "examples" / "images" / name) for name in PHOTOS]
    results = model.predict(pixels, PredictOptions(confidence=0.5))
    pictures = [Picture(pixels=one, width=one.shape[1], height=one.shape[0]) for one in pixels]
    return list(zip(pictures, results, strict=True))


def read(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels


def regions(tag: str, attributes: str, picture: Picture, result: Detections) -> list[Region]:
    xml = f'<View><Image name="i" value="$i"/><{tag} name="n" toName="i" {attributes}>{LABELS}</{tag}></View>'
    (control,) = make_plan(xml, Settings()).controls
    assert isinstance(control, ImageControl)
    return list(control.regions(result, picture))


def test_brushes_are_the_masks_of_the_model(found: list[tuple[Picture, Detections]]) -> None:
    for picture, result in found:
        got = regions("BrushLabels", "", picture, result)
        assert result.masks is not None
        assert len(got) == len(result) > 0
        for index, region in enumerate(got):
            mask = result.masks.draw(index, picture.width, picture.height) > 0
            size = (picture.height, picture.width, 4)
            assert ((np.reshape(decode_rle(region["value"]["rle"]), size)[:, :, 3] > 0) == mask).all()


def test_polygons_keep_the_area_of_the_masks_with_few_points(found: list[tuple[Picture, Detections]]) -> None:
    kept, points, all_points = [], 0, 0
    for picture, result in found:
        assert result.masks is not None
        got = regions("PolygonLabels", "", picture, result)
        full = regions("PolygonLabels", 'model_simplify="0"', picture, result)
        assert len(got) == len(full) == len(result)
        for index, region in enumerate(got):
            mask = largest_piece(result.masks.draw(index, picture.width, picture.height))
            outline = np.array(region["value"]["points"]) / 100 * (picture.width, picture.height)
            # OpenCV's coordinates are of pixel centres, here in sixteenths of a pixel.
            filled = cv2.fillPoly(np.zeros_like(mask), [np.round((outline - 0.5) * 16).astype(np.int32)], 1, shift=4)
            kept.append((filled & mask).sum() / mask.sum())
            points, all_points = points + len(outline), all_points + len(full[index]["value"]["points"])
    assert np.mean(kept) >= 0.99
    assert min(kept) >= 0.97
    assert points < all_points / 25


def largest_piece(mask: np.ndarray) -> np.ndarray:
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(mask)
    return (pieces == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
