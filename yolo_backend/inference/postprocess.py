"""A model's raw output to detections, whole arrays at a time; the same for every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from yolo_backend.inference.detections import Detections, SharedMasks
from yolo_backend.inference.options import PredictOptions
from yolo_backend.inference.preprocess import Letterbox

MOST_CANDIDATES = 30_000
"""So many boxes, the surest, compete for being kept: more would take seconds."""


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What must be known of a model to read its output.

    Attributes:
        task: of YOLO's: detect, segment, pose, obb or classify.
        names: of its classes.
        end_to_end: it suppresses double boxes itself; a row of its output is a box.
        keypoint_shape: number of points per object and of numbers per point, for pose.
    """

    task: str
    names: Mapping[int, str]
    end_to_end: bool
    keypoint_shape: tuple[int, int] | None = None


def read_outputs(
    outputs: Sequence[np.ndarray],
    metadata: ModelMetadata,
    letterbox: Letterbox,
    options: PredictOptions,
    *,
    width: int,
    height: int,
) -> Detections:
    """Return what a model found on one picture.

    Args:
        outputs: of the model for this picture, without the dimension of the batch: boxes first, then for segment the
            prototypes of its masks.
        metadata: of the model.
        letterbox: how the picture lay in its input.
        options: what is asked for.
        width: of the picture.
        height: the same.
    """
    rotated = metadata.task == "obb"
    first = outputs[0]
    if metadata.end_to_end or first.shape[-1] == 6:
        rows = first[first[:, 4] > options.confidence][: options.max_det].astype(np.float32, copy=False)
        boxes, scores, classes, extra = rows[:, :4], rows[:, 4], rows[:, 5].astype(int), rows[:, 6:]
    else:
        boxes, scores, classes, extra = decode_and_nms(first, len(metadata.names), options, rotated=rotated)
    size = np.array([width, height], np.float32)
    turned = points = masks = None
    if rotated:
        centres = letterbox.fractions(boxes[:, :2]) * size
        scale = size / (letterbox.inner_width, letterbox.inner_height)
        turned = np.column_stack([centres, boxes[:, 2:4] * scale, extra[:, -1:]])
        boxes = _hulls(turned, width, height)
    else:
        fractions = np.clip(letterbox.fractions(boxes.reshape(-1, 2, 2)), 0, 1)
        boxes = (fractions * size).reshape(-1, 4)
        if metadata.task == "segment":
            prototypes = outputs[1].astype(np.float32, copy=False)
            masks = SharedMasks.in_input(extra, prototypes, letterbox, fractions.reshape(-1, 4))
        elif metadata.task == "pose" and metadata.keypoint_shape is not None:
            points = extra.reshape(-1, *metadata.keypoint_shape).astype(np.float32)
            points[..., :2] = np.clip(letterbox.fractions(points[..., :2]), 0, 1) * size
    return Detections(
        names=metadata.names,
        width=width,
        height=height,
        boxes=boxes,
        scores=scores,
        classes=classes,
        obb=turned,
        keypoints=points,
        masks=masks,
    )


def decode_and_nms(
    output: np.ndarray, classes: int, options: PredictOptions, *, rotated: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Drop weak boxes, and of those that show the same object all but the surest.

    Args:
        output: (4 + classes + extra, boxes): centre x, centre y, width, height, a score per class, and what else the
            model says of an object.
        classes: number of classes.
        options: what is asked for.
        rotated: the last of the extra numbers is an angle; boxes stay centre, width, height.

    Returns:
        Boxes (n, 4), left, top, right, bottom unless rotated; scores (n,); class numbers (n,); extra (n, extra).
    """
    scores = output[4 : 4 + classes]
    best = scores.max(0)
    kept = np.flatnonzero(best > options.confidence)
    if len(kept) > MOST_CANDIDATES:
        kept = kept[np.argsort(-best[kept], kind="stable")[:MOST_CANDIDATES]]
    best = best[kept].astype(np.float32, copy=False)
    kinds = scores[:, kept].argmax(0)
    boxes = output[:4, kept].T.astype(np.float32)
    extra = output[4 + classes :, kept].T.astype(np.float32)
    if rotated:
        chosen = nms_obb(np.column_stack([boxes, extra[:, -1:]]), best, kinds, options.iou)[: options.max_det]
    else:
        half = boxes[:, 2:] / 2
        corner = boxes[:, :2] - half
        chosen = nms(np.column_stack([corner, boxes[:, 2:]]), best, kinds, options.iou)[: options.max_det]
        boxes = np.column_stack([corner, boxes[:, :2] + half])
    return boxes[chosen], best[chosen], kinds[chosen], extra[chosen]


def nms(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray, iou: float) -> np.ndarray:
    """Return the indices of boxes (left, top, width, height) that no surer one of its class overlaps, surest first."""
    if not len(boxes):
        return np.zeros(0, int)
    # OpenCV takes arrays, although its types speak of sequences.
    kept: Any = cv2.dnn.NMSBoxesBatched(boxes, scores, kinds.astype(np.int32), 0.0, iou)  # type: ignore[arg-type]
    chosen = np.asarray(kept, int).reshape(-1)
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def nms_obb(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray, iou: float) -> np.ndarray:
    """Return the indices of boxes (centre, width, height, angle) that no surer one of its class overlaps, surest first.

    The overlap is ProbIoU (arXiv 2106.06072) and a box that is dropped still drops others (Fast NMS, arXiv 1904.02689),
    since models are trained and measured with these.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, kinds = boxes[order].astype(float), kinds[order]
    keep = np.ones(len(boxes), bool)
    for kind in np.unique(kinds):
        same = np.flatnonzero(kinds == kind)
        keep[same] = ~np.triu(_prob_iou(boxes[same]) > iou, 1).any(0)
    return order[keep]


def _prob_iou(boxes: np.ndarray) -> np.ndarray:
    """Return the (n, n) overlaps of rotated boxes, taken as Gaussians: one less their Hellinger distance."""
    tiny = 1e-7
    across, along = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    xx = across * cos**2 + along * sin**2
    yy = across * sin**2 + along * cos**2
    xy = (across - along) * cos * sin
    own = np.clip(xx * yy - xy**2, 0, None)
    xx, yy, xy = (part[:, None] + part[None] for part in (xx, yy, xy))
    dx, dy = (boxes[:, axis, None] - boxes[None, :, axis] for axis in (0, 1))
    both = xx * yy - xy**2
    # The Bhattacharyya distance of two normal distributions.
    distance = (xx * dy**2 + yy * dx**2 - 2 * xy * dx * dy) / (both + tiny) / 4
    distance += np.log(both / (4 * np.sqrt(own[:, None] * own[None]) + tiny) + tiny) / 2
    overlaps: np.ndarray = 1 - np.sqrt(1 - np.exp(-np.clip(distance, tiny, 100)) + tiny)
    return overlaps


def _hulls(rotated: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the upright boxes (left, top, right, bottom) around rotated ones, within the picture."""
    cos, sin = np.abs(np.cos(rotated[:, 4])), np.abs(np.sin(rotated[:, 4]))
    half = np.column_stack([rotated[:, 2] * cos + rotated[:, 3] * sin, rotated[:, 2] * sin + rotated[:, 3] * cos]) / 2
    corners = np.column_stack([rotated[:, :2] - half, rotated[:, :2] + half])
    return np.clip(corners, 0, (width, height, width, height))
