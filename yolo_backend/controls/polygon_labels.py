"""PolygonLabels: the outlines of masks from a segmentation model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from yolo_backend.controls.attributes import attribute
from yolo_backend.controls.base import ImageControl
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture

FINER = 8
"""Masks are drawn at most so many times larger than the model gives them before their outlines are followed."""
UPSCALE = 4
"""An outline runs through the centres of a mask's border pixels: on an enlarged mask that is nearer to their edge."""


@dataclass(frozen=True, kw_only=True)
class PolygonLabels(ImageControl):
    """Fills ``<PolygonLabels>`` or ``<Polygon>`` on an ``<Image>``, one region for each object, its largest outline."""

    tag: ClassVar[str] = "PolygonLabels"
    shape_tag: ClassVar[str] = "Polygon"
    kind: ClassVar[str] = "polygon"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("segment",)

    model_simplify: float = attribute(
        0.5,
        "How far, in percent of the object's size, the outline may leave the mask's for having fewer points. "
        "0 keeps every point.",
        low=0,
        high=50,
    )

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield a region for each mask that a label wants and that has an outline of three points or more."""
        if result.masks is None:
            return
        for found in self.kept(result):
            scale = min(1, FINER * result.masks.resolution(found.index) / picture.width)
            width, height = max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)
            mask, left, top = result.masks.crop(found.index, width, height)
            points = outline(mask, tolerance=self.model_simplify / 100)
            if len(points) >= 3:
                percent = np.clip((points + (left, top)) / (width, height), 0, 1) * 100
                value = {"points": percent.round(4).tolist(), "closed": True}
                yield from self.region(found, value, picture)


def outline(mask: np.ndarray, *, tolerance: float) -> np.ndarray:
    """Return the largest outline of a mask, simplified by Douglas and Peucker's algorithm.

    Args:
        mask: (height, width), 0 outside of the object.
        tolerance: the largest distance between the outlines, as a fraction of the diagonal of the object's box.

    Returns:
        (points, 2) x and y in pixels of the mask, from the corner of its first; (0, 2) for an empty mask.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((0, 2))
    top, left = rows[0], columns[0]
    inner = (mask[top : rows[-1] + 1, left : columns[-1] + 1] > 0).astype(np.uint8)
    # Enlarged with smooth borders, since stairs of pixels are no shape to follow.
    inner = cv2.resize(np.pad(inner, 1) * 255, None, fx=UPSCALE, fy=UPSCALE, interpolation=cv2.INTER_LINEAR)
    outlines, _ = cv2.findContours((inner > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    points = largest[:, 0]
    if tolerance:
        # Closer to the mask than half of its pixels there is nothing to know.
        distance = max(tolerance * float(np.hypot(inner.shape[0], inner.shape[1])), UPSCALE / 2)
        points = cv2.approxPolyDP(largest, distance, closed=True)[:, 0]
    # A pixel's centre is half a pixel from its corner, and a pixel was added on each side.
    return np.clip((points + 0.5) / UPSCALE - 1 + (left, top), 0, mask.shape[::-1])
