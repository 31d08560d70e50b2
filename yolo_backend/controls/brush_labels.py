"""BrushLabels: masks from a segmentation model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from yolo_backend.controls.base import ImageControl, Region

if TYPE_CHECKING:
    from ultralytics.engine.results import Results

    from yolo_backend.media import Picture


@dataclass(frozen=True, kw_only=True)
class BrushLabels(ImageControl):
    """Fills ``<BrushLabels>`` or ``<Brush>`` on an ``<Image>``, one region for each object."""

    tag: ClassVar[str] = "BrushLabels"
    shape_tag: ClassVar[str] = "Brush"
    kind: ClassVar[str] = "brush"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("segment",)

    def regions(self, result: Results, picture: Picture) -> Iterator[Region]:
        """Yield a region for each mask that a label wants and that isn't empty."""
        # Imported here since it takes a second, which a project without this tag should not wait for.
        from label_studio_sdk.converter.brush import mask2rle

        for found in self.kept(result):
            mask = full_size(result.masks.data[found.index].cpu().numpy(), picture.width, picture.height)
            if mask.any():
                yield from self.region(found, {"format": "rle", "rle": mask2rle(mask)}, picture)


def full_size(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a mask (any height, any width), 0 outside, as (height, width) uint8 of 0 and 255."""
    import cv2

    inside: np.ndarray = (mask > 0).astype(np.uint8) * 255
    if inside.shape != (height, width):
        inside = cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(inside > 127, np.uint8(255), np.uint8(0))
