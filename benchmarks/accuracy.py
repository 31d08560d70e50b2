"""How well each tag is filled in: the service's own regions, on fresh scenes whose truth is known.

    pip install -r models/requirements-train.txt
    PYTHONPATH=.:models python benchmarks/accuracy.py             # every example with a tag on an image
    PYTHONPATH=.:models python benchmarks/accuracy.py PolygonLabels --scenes 50
    PYTHONPATH=.:models python benchmarks/accuracy.py --data data # with what the service has there: networks for OpenVINO

The scenes have other codes and other backgrounds than the training set. A region counts as found if its label is right and
its shape overlaps the truth's by half or more.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle

from scenes import HELD_OUT, Scene, draw_scene
from scenes.datasets import cut_crops
from scenes.scene import SceneObject
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import PROJECT_DIR, Settings

SEED = 2024
LABELS = {"QR code": "qr_code", "Barcode": "barcode", "Neither": "none"}
Region = dict[str, Any]


@dataclass
class Score:
    """What was found of one tag, over all scenes."""

    truths: int = 0
    found: int = 0
    false: int = 0
    overlaps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def row(self, name: str, unit: str) -> str:
        """Return the row of the table."""
        error = f"{np.mean(self.errors):.2f} {unit}" if self.errors else ""
        overlap = f"{np.mean(self.overlaps):.3f}" if self.overlaps else ""
        return (
            f"| {name} | {self.truths} | {self.found / max(self.truths, 1):.3f} | {self.false} | {overlap} | {error} |"
        )


HEADER = "| example | truths | found | false | mean IoU | mean error |\n| --- | --- | --- | --- | --- | --- |"


def turned(x: float, y: float, width: float, height: float, degrees: float) -> np.ndarray:
    """Return the corners (4, 2) of a box turned about (x, y), which is its top-left corner; all in pixels."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn + (x, y)


def filled(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mask (height, width) of a polygon (n, 2) in pixels; ``size`` is (width, height)."""
    mask = np.zeros(size[::-1], np.uint8)
    return cv2.fillPoly(mask, [np.round((points - 0.5) * 16).astype(np.int32)], 1, shift=4).astype(bool)


def ellipse(centre: Sequence[float], radii: Sequence[float], degrees: float) -> np.ndarray:
    """Return the outline (72, 2) of an ellipse in pixels."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([radii[0] * np.cos(t), radii[1] * np.sin(t)]) @ turn + centre


def region_mask(region: Region, size: tuple[int, int]) -> np.ndarray:
    """Return what a region covers, as Label Studio draws it: (height, width) bool."""
    width, height = size
    value = region["value"]
    if "rle" in value:
        return np.reshape(decode_rle(value["rle"]), (height, width, 4))[:, :, 3] > 0
    if "points" in value:
        return filled(np.array(value["points"]) * (width / 100, height / 100), size)
    x, y = value["x"] * width / 100, value["y"] * height / 100
    if "radiusX" in value:
        radii = value["radiusX"] * width / 100, value["radiusY"] * height / 100
        return filled(ellipse((x, y), radii, value["rotation"]), size)
    return filled(turned(x, y, value["width"] * width / 100, value["height"] * height / 100, value["rotation"]), size)


def upright(item: SceneObject, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of an object's upright box."""
    left, top, right, bottom = item.box
    return filled(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), size)


def rotated(item: SceneObject, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of an object's rotated box."""
    x, y, width, height, angle = item.rotated_box
    return filled(cv2.boxPoints(((x, y), (width, height), angle)), size)


def inscribed(item: SceneObject, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of the ellipse in an object's rotated box."""
    x, y, width, height, angle = item.rotated_box
    return filled(ellipse((x, y), (width / 2, height / 2), angle), size)


def shape(item: SceneObject, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of an object itself."""
    return item.mask(size[1], size[0])


def angle_error(region: Region, item: SceneObject) -> float:
    """Return the degrees between a rotated box and the truth's; a right angle more or less is the same box."""
    difference = (region["value"]["rotation"] - item.rotated_box[4]) % 90
    return float(min(difference, 90 - difference))


Truth = Callable[[SceneObject, tuple[int, int]], np.ndarray]
Error = Callable[[Region, SceneObject], float]
SHAPES: dict[str, tuple[Truth, Error | None, str]] = {
    "RectangleLabels": (upright, None, ""),
    "RectangleLabels-rotated": (rotated, angle_error, "°"),
    "Rectangle": (upright, None, ""),
    "PolygonLabels": (shape, None, ""),
    "BrushLabels": (shape, None, ""),
    "EllipseLabels": (inscribed, None, ""),
}


def labels_of(region: Region) -> list[str]:
    """Return the labels of a region, in the model's words."""
    value = region["value"]
    names = value.get(region["type"]) or value.get("labels") or []
    return [LABELS.get(name, name) for name in names]


def score_shapes(score: Score, regions: Iterable[Region], scene: Scene, truth: Truth, error: Error | None) -> None:
    """Compare the regions of one scene with its objects."""
    size = (scene.image.shape[1], scene.image.shape[0])
    drawn = [(labels_of(r)[0], region_mask(r, size), r) for r in regions if labels_of(r)]
    score.truths += len(scene.objects)
    for item in scene.objects:
        mask = truth(item, size)
        overlaps = [
            float((mask & other).sum() / max((mask | other).sum(), 1)) if label == item.label else 0.0
            for label, other, _ in drawn
        ]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= 0.5:
            score.found += 1
            score.overlaps.append(overlaps[best])
            if error is not None:
                score.errors.append(error(drawn[best][2], item))
            del drawn[best]
    score.false += len(drawn)


def score_key_points(score: Score, regions: Sequence[Region], scene: Scene) -> None:
    """Compare the corners of one scene: an object is found by its box, the error is that of its corners."""
    order = ["Top left", "Top right", "Bottom right", "Bottom left"]
    size = np.array([scene.image.shape[1], scene.image.shape[0]]) / 100
    boxes = [region for region in regions if region["type"] == "rectanglelabels"]
    corners: dict[str, dict[str, np.ndarray]] = {}
    for region in regions:
        if region["type"] == "keypointlabels":
            point = np.array([region["value"]["x"], region["value"]["y"]]) * size
            corners.setdefault(region["parentID"], {})[labels_of(region)[0]] = point

    def corner_error(box: Region, item: SceneObject) -> float:
        mine = corners.get(box["id"], {})
        diagonal = float(np.linalg.norm(item.box[2:] - item.box[:2]))
        apart = [
            np.linalg.norm(mine[name] - truth) for name, truth in zip(order, item.corners, strict=True) if name in mine
        ]
        return float(np.mean(apart)) / diagonal * 100

    score_shapes(score, boxes, scene, upright, corner_error)


def score_classes(score: Score, predicted: Sequence[Sequence[Region]], labels: Sequence[str]) -> None:
    """Compare what images are said to be."""
    for regions, label in zip(predicted, labels, strict=True):
        score.truths += 1
        names = [region["value"][region["type"]][0] for region in regions]
        leaves = [LABELS[name[-1] if isinstance(name, list) else name] for name in names]
        score.found += leaves == [label]
        score.false += leaves not in ([label], [])


def predictions(engine: Engine, example: str, folder: Path, names: Sequence[str]) -> list[list[Region]]:
    """Return the service's regions for pictures in ``folder``, which it opens as Label Studio's local files."""
    plan = engine.plan((PROJECT_DIR / "examples" / f"{example}.xml").read_text())
    tasks = [{"id": name, "data": {"image": f"/data/local-files/?d={name}"}} for name in names]
    answers = engine.predict(plan, tasks, LabelStudio(url=None))
    assert all(answer is not None for answer in answers), "a picture of ours could not be predicted"
    return [answer.regions for answer in answers if answer is not None]


def write(folder: Path, name: str, image: np.ndarray) -> str:
    """Write a picture (height, width, 3) RGB as a camera would; returns its name."""
    cv2.imwrite(str(folder / name), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return name


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("examples", nargs="*", help="names of files in examples/, without .xml; default: all")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument(
        "--data", type=Path, help="a MODEL_DIR; default: an empty one, so that PyTorch predicts at first"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING")
    wanted = arguments.examples or [*SHAPES, "KeyPointLabels", "Choices", "Taxonomy"]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        scenes = [draw_scene(SEED, index, families=HELD_OUT) for index in range(arguments.scenes)]
        names = [write(folder, f"scene-{index}.jpg", scene.image) for index, scene in enumerate(scenes)]
        crops = [crop for index, scene in enumerate(scenes) for crop in cut_crops(scene, SEED, index)]
        cut = [write(folder, f"crop-{index}.jpg", image) for index, (_, image) in enumerate(crops)]
        data = arguments.data or folder / "data"
        engine = Engine(Settings(model_dir=data, local_files_document_root=folder))
        print(HEADER)
        for example in wanted:
            score, unit = Score(), ""
            if example in ("Choices", "Taxonomy"):
                score_classes(score, predictions(engine, example, folder, cut), [label for label, _ in crops])
            else:
                for scene, regions in zip(scenes, predictions(engine, example, folder, names), strict=True):
                    if example == "KeyPointLabels":
                        unit = "% of the box's diagonal"
                        score_key_points(score, regions, scene)
                    else:
                        truth, error, unit = SHAPES[example]
                        score_shapes(score, regions, scene, truth, error)
            print(score.row(example, unit), flush=True)
        runtimes = {one["weights"]: one["runtime"] for one in engine.models.loaded()}
        print(f"Predicted by {runtimes}", file=sys.stderr)


if __name__ == "__main__":
    main()
