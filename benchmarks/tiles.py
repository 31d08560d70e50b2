"""What tiles do for small objects in 12-megapixel photos: how many are found, and in what time.

    pip install -r models/requirements-train.txt
    PYTHONPATH=.:models python benchmarks/tiles.py

The photos are drawn, with codes of about 25 to 320 pixels whose places are known. A code counts as found if a region of its
label overlaps it by half or more. Times are medians over the photos, fetching and decoding included.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scenes import Scene, draw_sheet
from yolo_backend.inference import ModelSpec
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings

SIZE = (4000, 3000)
WIDTHS = ((0.06, 0.15), (0.08, 0.3), (0.1, 0.5))
ASKED = (
    "",
    'model_imgsz="1280"',
    'model_tile="320"',
    'model_tile="640" model_tile_overlap="0"',
    'model_tile="640"',
    'model_tile="640" model_tile_overlap="0.4"',
)
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image" model_path="demo-detect.pt" {asked}>
<Label value="qr_code"/><Label value="barcode"/></RectangleLabels></View>"""


def score(regions: list[dict[str, Any]], scene: Scene) -> tuple[int, int]:
    """Return how many objects of a scene were found, and how many regions are none of them."""
    height, width = scene.image.shape[:2]
    labels = np.array([region["value"]["rectanglelabels"][0] for region in regions])
    values = [[region["value"][key] for key in ("x", "y", "width", "height")] for region in regions]
    boxes = np.array(values, float).reshape(-1, 4) / 100 * (width, height, width, height)
    boxes[:, 2:] += boxes[:, :2]
    free = np.ones(len(boxes), bool)
    for item in scene.objects:
        sides = np.minimum(item.box[2:], boxes[:, 2:]) - np.maximum(item.box[:2], boxes[:, :2])
        common = np.clip(sides, 0, None).prod(1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (item.box[2:] - item.box[:2]).prod()
        overlaps = common / (areas - common) * free * (labels == item.label)
        if len(overlaps) and overlaps.max() >= 0.5:
            free[overlaps.argmax()] = False
    return int((~free).sum()), int(free.sum())


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    logging.basicConfig(level="WARNING")
    scenes = [draw_sheet(5, seed, size=SIZE, columns=6, rows=6, code_widths=w) for seed, w in enumerate(WIDTHS)]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for index, scene in enumerate(scenes):
            cv2.imwrite(str(folder / f"{index}.jpg"), scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        engine = Engine(Settings(model_dir=folder / "data", local_files_document_root=folder))
        engine.models.get(ModelSpec(weights="demo-detect.pt"))
        engine.models.settle()
        tasks = [{"id": index, "data": {"image": f"/data/local-files/?d={index}.jpg"}} for index in range(len(scenes))]
        truths = sum(len(scene.objects) for scene in scenes)
        print("| asked | codes | found | part | false | seconds per photo |\n| --- | --- | --- | --- | --- | --- |")
        for asked in ASKED:
            plan = engine.plan(CONFIG.format(asked=asked))
            engine.predict(plan, tasks[:1], LabelStudio(url=None))  # whatever is done once
            found, false, seconds = 0, 0, []
            for task, scene in zip(tasks, scenes, strict=True):
                started = time.monotonic()
                (answer,) = engine.predict(plan, [task], LabelStudio(url=None))
                seconds.append(time.monotonic() - started)
                if answer is None:
                    raise SystemExit("a photo could not be predicted")
                hits, others = score(answer.regions, scene)
                found, false = found + hits, false + others
            row = f"| {truths} | {found} | {found / truths:.3f} | {false} | {statistics.median(seconds):.2f} |"
            print(f"| {f'`{asked}`' if asked else 'the whole image'} {row}", flush=True)


if __name__ == "__main__":
    main()
