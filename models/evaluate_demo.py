"""Measure the bundled demo weights on scenes with another seed, other codes and other backgrounds than in training.

    pip install -r models/requirements-train.txt
    python models/evaluate_demo.py                        # every models/demo-*.pt: the table of models/README.md
    python models/evaluate_demo.py detect --imgsz 320 --imgsz 640

The backgrounds come from families (and photos) that no training scene has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")

import cv2
import numpy as np
from ultralytics import YOLO
from ultralytics.engine.results import Results

from scenes import HELD_OUT, Scene, draw_scene
from scenes.datasets import TASKS, data_of, write_datasets

FOLDER = Path(__file__).resolve().parent
SEED = 77
SCENES = 300
#: Scenes that are also looked at one by one: for speed, corners and angles.
CLOSE_LOOKS = 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    weights: str
    image_size: int
    megabytes: float
    milliseconds: float
    scores: dict[str, float]

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        return f"| {self.weights} | {self.image_size} | {self.megabytes:.2f} | {self.milliseconds:.0f} | {scores} |"


HEADER = "| weights | imgsz | MB | ms per image | scores |\n| --- | --- | --- | --- | --- |"


def evaluate(weights: Path, data: Path, *, image_size: int | None, scenes: int) -> Row:
    """Score one file of weights; ``image_size`` None takes what the weights themselves ask for."""
    model = YOLO(weights)
    image_size = image_size or int(model.overrides["imgsz"])
    task = str(model.task)
    metrics = model.val(
        data=str(data_of(draw_data(data, scenes), task)), imgsz=image_size, device="cpu", batch=8, plots=False, verbose=False,
        project=str(data / "runs"), workers=0,
    )  # fmt: skip
    if task == "classify":
        scores = {"top-1": metrics.top1}
    else:
        scores = {"box mAP50": metrics.box.map50, "box mAP50-95": metrics.box.map}
        if task in ("segment", "pose"):
            kind, part = ("mask", metrics.seg) if task == "segment" else ("pose", metrics.pose)
            scores |= {f"{kind} mAP50": part.map50, f"{kind} mAP50-95": part.map}
        elif task == "obb":
            scores = {name.replace("box", "obb"): value for name, value in scores.items()}
    looks = [draw_scene(SEED + 1, index, families=HELD_OUT) for index in range(min(CLOSE_LOOKS, scenes))]
    scores |= close_look(model, looks, image_size)
    # Once more through a fresh predictor: validation has fused the model already, and warmed it up.
    return Row(
        weights=weights.name,
        image_size=image_size,
        megabytes=weights.stat().st_size / 1e6,
        milliseconds=milliseconds(model, looks[:40], image_size),
        scores=scores,
    )


def draw_data(data: Path, scenes: int) -> Path:
    """The scenes to score as data sets of all tasks, drawn unless they are there; returns their folder."""
    root = data / f"held-out-{scenes}"
    if not (root / "complete").exists():
        # The library asks for a part to train on as well; only "val", from the held-out families, is scored.
        write_datasets(root, seed=SEED - 1, train=20, held_out=scenes)
        (root / "complete").touch()
    return root


def milliseconds(model: YOLO, scenes: list[Scene], image_size: int) -> float:
    """The median time for one image, from pixels to results."""
    times = []
    for scene in scenes:
        start = time.perf_counter()
        _predict(model, scene, image_size)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _predict(model: YOLO, scene: Scene, image_size: int) -> Results:
    # The library takes arrays as OpenCV has them: BGR.
    return model.predict(scene.image[..., ::-1], imgsz=image_size, conf=0.25, device="cpu", verbose=False)[0]


def close_look(model: YOLO, scenes: list[Scene], image_size: int) -> dict[str, float]:
    """What mAP does not say: misses, false boxes, corners, angles, over scenes predicted one by one at score 0.25."""
    measure = {"detect": box_error, "pose": corner_error, "obb": angle_error}.get(str(model.task))
    if measure is None:
        return {}
    errors: list[float] = []
    found = wanted = false = 0
    for scene in scenes:
        result = _predict(model, scene, image_size).cpu().numpy()
        pairs, unmatched = match(result, scene)
        errors += [measure(result, index, scene.objects[item].corners) for index, item in pairs]
        found, wanted, false = found + len(pairs), wanted + len(scene.objects), false + unmatched
    name = {"detect": "mean IoU", "pose": "mean corner error in % of the box", "obb": "mean angle error in degrees"}
    return {
        name[str(model.task)]: float(np.mean(errors)) if errors else float("nan"),
        "found": found / max(1, wanted),
        "false boxes per image": false / max(1, len(scenes)),
    }


def match(result: Results, scene: Scene) -> tuple[list[tuple[int, int]], int]:
    """Pairs (prediction, object) of one label with IoU of 0.5 or more, and how many predictions match nothing."""
    found = result.obb if result.obb is not None else result.boxes
    pairs: list[tuple[int, int]] = []
    free = set(range(len(scene.objects)))
    for index in np.argsort(-found.conf):
        label = result.names[int(found.cls[index])]
        overlaps = {
            item: iou(found.xyxy[index], scene.objects[item].box) for item in free if scene.objects[item].label == label
        }
        if overlaps and max(overlaps.values()) >= 0.5:
            item = max(overlaps, key=lambda key: overlaps[key])
            free.discard(item)
            pairs.append((int(index), item))
    return pairs, len(found.conf) - len(pairs)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    shared = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None).prod()
    return float(shared / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared))


def box_error(result: Results, index: int, corners: np.ndarray) -> float:
    """The IoU with the truth."""
    return iou(result.boxes.xyxy[index], np.concatenate([corners.min(0), corners.max(0)]))


def corner_error(result: Results, index: int, corners: np.ndarray) -> float:
    """The mean distance of the four corners, in percent of the box's longer side."""
    return float(
        np.linalg.norm(result.keypoints.xy[index] - corners, axis=1).mean() / np.ptp(corners, axis=0).max() * 100
    )


def angle_error(result: Results, index: int, corners: np.ndarray) -> float:
    """Degrees between the sides of the rotated boxes: 0 to 45, a square has no other direction."""
    truth = cv2.minAreaRect(corners.astype(np.float32))[2]
    off = (np.degrees(result.obb.xywhr[index][4]) - truth) % 90
    return float(min(off, 90 - off))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="default: every task with weights")
    parser.add_argument("--weights", type=Path, help="other weights than the bundled ones (with one task)")
    parser.add_argument("--imgsz", type=int, action="append", help="default: what the weights ask for; may be repeated")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--data", type=Path, help="keep the drawn scenes here")
    arguments = parser.parse_args()
    tasks = arguments.tasks or [task for task in TASKS if (FOLDER / f"demo-{task}.pt").exists()]
    print(HEADER)
    with tempfile.TemporaryDirectory() as temporary:
        measured = partial(evaluate, data=(arguments.data or Path(temporary)).resolve(), scenes=arguments.scenes)
        for task in tasks:
            for image_size in arguments.imgsz or [None]:
                print(measured(arguments.weights or FOLDER / f"demo-{task}.pt", image_size=image_size), flush=True)


if __name__ == "__main__":
    main()
