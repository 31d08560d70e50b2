"""RectangleLabels: axis-aligned boxes from a detection model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from yolo_backend.controls.base import Control, Region

if TYPE_CHECKING:
    from ultralytics.engine.results import Results

    from yolo_backend.media import Picture


@dataclass(frozen=True, kw_only=True)
class RectangleLabels(Control):
    """Fills ``<RectangleLabels>`` or ``<Rectangle>`` on an ``<Image>``, one region for each detected box."""

    tag: ClassVar[str] = "RectangleLabels"
    shape_tag: ClassVar[str] = "Rectangle"
    kind: ClassVar[str] = "rectangle"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("detect", "segment", "pose")

    def regions(self, result: Results, picture: Picture) -> Iterator[Region]:
        """Yield a region for each box that a label wants."""
        boxes = result.boxes.cpu().numpy()
        classes = self.class_map(result.names)
        kept = classes.kept(boxes.cls, boxes.conf)
        for index, (x, y, width, height) in zip(kept, percent_boxes(boxes.xyxyn[kept]).tolist(), strict=True):
            value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
            label = classes.labels[int(boxes.cls[index])]
            yield from self.region(int(index), value, label, boxes.conf[index], picture)


def percent_boxes(corners: np.ndarray) -> np.ndarray:
    """Turn boxes in fractions of the image into Label Studio's percentages.

    Args:
        corners: (n, 4) left, top, right, bottom, from 0 to 1; what lies outside of the image is cut off.

    Returns:
        (n, 4) left, top, width, height, from 0 to 100.
    """
    percent = np.clip(corners.astype(float), 0, 1) * 100
    return np.round(np.hstack([percent[:, :2], percent[:, 2:] - percent[:, :2]]), 4)
