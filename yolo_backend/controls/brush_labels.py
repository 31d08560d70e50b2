"""BrushLabels: masks from a segmentation model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from yolo_backend.controls.base import ImageControl
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture


@dataclass(frozen=True, kw_only=True)
class BrushLabels(ImageControl):
    """Fills ``<BrushLabels>`` or ``<Brush>`` on an ``<Image>``, one region for each object."""

    tag: ClassVar[str] = "BrushLabels"
    shape_tag: ClassVar[str] = "Brush"
    kind: ClassVar[str] = "brush"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("segment",)

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield a region for each mask that a label wants and that isn't empty."""
        # Imported here since it takes a second, which a project without this tag should not wait for.
        from label_studio_sdk.converter.brush import mask2rle

        if result.masks is None:
            return
        for found in self.kept(result):
            mask = result.masks.draw(found.index, picture.width, picture.height) * 255
            if mask.any():
                yield from self.region(found, {"format": "rle", "rle": mask2rle(mask)}, picture)
