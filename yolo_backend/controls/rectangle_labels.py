"""RectangleLabels: boxes, upright from a detection model or rotated from one for oriented boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from yolo_backend.controls.attributes import attribute
from yolo_backend.controls.base import ImageControl
from yolo_backend.controls.boxes import about_corner, rotated_boxes, upright_boxes
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture


@dataclass(frozen=True, kw_only=True)
class BoxControl(ImageControl):
    """A control that is filled in from boxes, upright or rotated."""

    model_obb: bool = attribute(False, "Rotated boxes, from weights for oriented boxes.")

    @property
    def yolo_tasks(self) -> tuple[str, ...]:
        """What the weights may be for; rotated boxes need those for oriented boxes, but others are not refused."""
        return ("obb", "detect", "segment", "pose") if self.model_obb else ("detect", "segment", "pose", "obb")

    def problems_with(self, task: str, points: int = 0) -> list[str]:
        """Say what weights for ``task`` can't give."""
        if self.model_obb and task != "obb":
            return [f"{self}: model_obb has no effect, the weights are for {task} and know no rotation"]
        return []


@dataclass(frozen=True, kw_only=True)
class RectangleLabels(BoxControl):
    """Fills ``<RectangleLabels>`` or ``<Rectangle>`` on an ``<Image>``, one region for each box."""

    tag: ClassVar[str] = "RectangleLabels"
    shape_tag: ClassVar[str] = "Rectangle"
    kind: ClassVar[str] = "rectangle"

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield a region for each box that a label wants."""
        if self.model_obb:
            boxes = about_corner(rotated_boxes(result), aspect=picture.width / picture.height)
        else:
            boxes = upright_boxes(result)
        for found in self.kept(result):
            x, y, width, height, *rotation = boxes[found.index].round(4).tolist()
            value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation[0] if rotation else 0}
            yield from self.region(found, value, picture)
