"""EllipseLabels: the ellipse inscribed in a box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from yolo_backend.controls.boxes import about_centre, rotated_boxes, upright_boxes
from yolo_backend.controls.rectangle_labels import BoxControl
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture


@dataclass(frozen=True, kw_only=True)
class EllipseLabels(BoxControl):
    """Fills ``<EllipseLabels>`` or ``<Ellipse>`` on an ``<Image>``, one region for each box."""

    tag: ClassVar[str] = "EllipseLabels"
    shape_tag: ClassVar[str] = "Ellipse"
    kind: ClassVar[str] = "ellipse"

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield a region for each box that a label wants."""
        if self.model_obb:
            boxes = about_centre(rotated_boxes(result), aspect=picture.width / picture.height)
        else:
            boxes = upright_boxes(result)
            boxes[:, :2] += boxes[:, 2:] / 2
        for found in self.kept(result):
            x, y, width, height, *rotation = boxes[found.index].tolist()
            value = {
                "x": round(x, 4),
                "y": round(y, 4),
                "radiusX": round(width / 2, 4),
                "radiusY": round(height / 2, 4),
                "rotation": round(rotation[0], 4) if rotation else 0,
            }
            yield from self.region(found, value, picture)
