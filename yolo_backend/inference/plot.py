"""Detections drawn on their picture, by the YOLO library."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yolo_backend.inference.detections import Detections
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.staging import staging_directory
from yolo_backend.private_files import close_to_others


def save_plot(found: Detections, pixels: np.ndarray, path: Path) -> None:
    """Write a picture with what was found drawn on it.

    Args:
        found: in the coordinates of ``pixels``.
        pixels: (height, width, 3) uint8, BGR.
        path: of the JPEG.

    Raises:
        OSError: it can't be written.
    """
    ultralytics()
    import torch
    from ultralytics.engine.results import Results

    rows = np.column_stack([found.boxes, found.scores, found.classes])
    arrays: dict[str, np.ndarray | None] = {"keypoints": found.keypoints}
    if len(found.probabilities):
        arrays["probs"] = found.probabilities
    elif found.obb is not None:
        arrays["obb"] = np.column_stack([found.obb, rows[:, 4:]])
    else:
        arrays["boxes"] = rows
    if found.masks is not None and len(found):
        height, width = pixels.shape[:2]
        arrays["masks"] = np.stack([found.masks.draw(index, width, height) for index in range(len(found))])
    tensors = {name: torch.as_tensor(array, dtype=torch.float32) for name, array in arrays.items() if array is not None}
    with staging_directory(path.parent) as making:
        plot = making / path.name
        Results(pixels, path="", names=dict(found.names), **tensors).save(str(plot))
        close_to_others(plot)
        plot.replace(path)
