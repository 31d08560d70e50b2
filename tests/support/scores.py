"""How well the sample clips are labelled: what Label Studio draws and marks, against the truth.

Objects that are followed get the CLEAR MOT scores; ranges of frames get the frames that both have over those that either has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from tests.support.drawn import Box, drawn_box
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import PROJECT_DIR

CLIPS = PROJECT_DIR / "examples" / "video"
MATCH_IOU = 0.5
LABELS = '<Label value="qr_code"/><Label value="barcode"/>'
VIDEO = '<Video name="video" value="$video" frameRate="25"/>'


@dataclass(frozen=True, kw_only=True)
class TrackingScore:
    """Counts over all frames; ``key_frames`` are those of all regions."""

    truths: int
    missed: int
    extra: int
    switches: int
    mean_iou: float
    key_frames: int

    @property
    def mota(self) -> float:
        """Multiple object tracking accuracy: 1 is perfect."""
        return 1 - (self.missed + self.extra + self.switches) / self.truths


def truth_of(clip: str) -> dict[str, Any]:
    """Width, height, fps and per frame [{id, label, box}], boxes in pixels."""
    return json.loads((CLIPS / "truth.json").read_text())[clip]


def score_regions(regions: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> TrackingScore:
    """Compare regions at the clip's own frame rate; a box with another label matches nothing."""
    size = np.array([truth["width"], truth["height"]] * 2) / 100
    matched: dict[int, int] = {}
    truths = missed = extra = switches = 0
    overlaps: list[float] = []
    for number, objects in enumerate(truth["frames"], start=1):
        found = {}
        for index, region in enumerate(regions):
            box = drawn_box(region["value"]["sequence"], number)
            if box is not None:
                found[index] = (region["value"]["labels"][0], tuple((np.array(box) * size).tolist()))
        ious = {
            (one["id"], index): _iou(one["box"], box)
            for one in objects
            for index, (label, box) in found.items()
            if label == one["label"]
        }
        pairs = _assign(ious, matched)
        truths += len(objects)
        missed += len(objects) - len(pairs)
        extra += len(found) - len(pairs)
        switches += sum(matched.get(one, index) != index for one, index in pairs.items())
        overlaps += [ious[pair] for pair in pairs.items()]
        matched.update(pairs)
    return TrackingScore(
        truths=truths,
        missed=missed,
        extra=extra,
        switches=switches,
        mean_iou=float(np.mean(overlaps)) if overlaps else 0.0,
        key_frames=sum(len(region["value"]["sequence"]) for region in regions),
    )


def frame_iou(regions: Sequence[Mapping[str, Any]], truth: Mapping[str, Any], label: str) -> float:
    """Compare the ranges of a label with the frames in which such an object is seen: their IoU, from 0 to 1."""
    marked = {
        number
        for region in regions
        if region["value"]["timelinelabels"] == [label]
        for one in region["value"]["ranges"]
        for number in range(one["start"], one["end"] + 1)
    }
    seen = {
        number
        for number, objects in enumerate(truth["frames"], start=1)
        if any(one["label"] == label for one in objects)
    }
    return len(marked & seen) / len(marked | seen) if marked | seen else 1.0


def _assign(ious: Mapping[tuple[int, int], float], before: Mapping[int, int]) -> dict[int, int]:
    """Pair truths with regions: those that belong together already first, then as well as possible."""
    good = {pair: iou for pair, iou in ious.items() if iou >= MATCH_IOU}
    pairs = {one: index for one, index in good if before.get(one) == index}
    rows = sorted({one for one, _ in good} - set(pairs))
    columns = sorted({index for _, index in good} - set(pairs.values()))
    gain = np.array([[good.get((row, column), 0.0) for column in columns] for row in rows]).reshape(
        len(rows), len(columns)
    )
    for row, column in zip(*linear_sum_assignment(-gain), strict=True):
        if gain[row, column] > 0:
            pairs[rows[row]] = columns[column]
    return pairs


def _iou(one: Box, other: Box) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def tracking_config(tracker: str) -> str:
    boxes = f'<VideoRectangle name="box" toName="video" model_path="demo-detect.pt" model_tracker="{tracker}"/>'
    return f'<View><Labels name="label" toName="video">{LABELS}</Labels>{VIDEO}{boxes}</View>'


def timeline_config() -> str:
    weights = 'model_path="demo-classify.pt" model_whole_image="true"'
    ranges = f'<TimelineLabels name="seen" toName="video" {weights}>{LABELS}</TimelineLabels>'
    return f"<View>{ranges}{VIDEO}</View>"


def predict(engine: Engine, xml: str, clip: str) -> list[dict[str, Any]]:
    """The regions of a sample clip."""
    task = {"id": 1, "data": {"video": f"/data/local-files/?d={clip}"}}
    (prediction,) = engine.predict(engine.plan(xml), [task], LabelStudio(url="http://label-studio"))
    assert prediction is not None, f"{clip} failed; the log says why"
    return prediction.regions
