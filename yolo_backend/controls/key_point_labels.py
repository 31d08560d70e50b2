"""KeyPointLabels: the points of a pose model, tied to the boxes of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolo_backend.controls.attributes import Attribute, attribute
from yolo_backend.controls.base import Control, ImageControl, LabeledDetection, label_attribute
from yolo_backend.controls.boxes import upright_boxes
from yolo_backend.controls.classes import classes_of_the_model
from yolo_backend.controls.rectangle_labels import RectangleLabels
from yolo_backend.label_studio.class_names import folded, spellings
from yolo_backend.label_studio.labeling_config import ControlTag, Label, LabelingConfig, ObjectTag
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture
    from yolo_backend.settings import Settings


@dataclass(frozen=True, kw_only=True)
class KeyPoint:
    """Which point of which objects a label is for.

    ``model_index`` is the point's number in the model, from 0. ``classes`` are the names of the objects' classes,
    folded; empty: of any object.
    """

    label: Label
    threshold: float
    model_index: int
    classes: tuple[str, ...]

    def is_also(self, other: KeyPoint) -> bool:
        """Tell whether a point of some object is both."""
        same_object = not self.classes or not other.classes or not set(self.classes).isdisjoint(other.classes)
        return self.model_index == other.model_index and same_object


MODEL_INDEX = Attribute(
    kind=int, doc="On a `<Label>`: the number of the point in the model, from 0.", low=0, high=10000
)


@dataclass(frozen=True, kw_only=True)
class KeyPointLabels(ImageControl):
    """Fills ``<KeyPointLabels>`` or ``<KeyPoint>`` on an ``<Image>``, one region for each point of each object.

    Where the config has a rectangle control for the objects' class on the same image, each object gets a box there, and
    its points name it as their parent.
    """

    tag: ClassVar[str] = "KeyPointLabels"
    shape_tag: ClassVar[str] = "KeyPoint"
    kind: ClassVar[str] = "keypoint"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("pose",)
    label_attributes: ClassVar[tuple[str, ...]] = (*ImageControl.label_attributes, "model_index")

    model_point_threshold: float = attribute(
        0.5,
        "Points that the model is less sure to be visible are left out; all are kept if it doesn't say.",
        low=0,
        high=1,
    )
    model_point_size: float = attribute(10.0, "Size of a point, in pixels of the image.", low=0.1, high=1000)
    model_add_bboxes: bool = attribute(
        True, "Draw each object's box, if the config has a rectangle control for it on the same image."
    )

    points: tuple[KeyPoint, ...] = ()
    boxes: RectangleLabels | None = None

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag, with the rectangle control that holds its objects' boxes."""
        made, problems = super().from_tag(tag, shown, config, settings)
        if not isinstance(made, KeyPointLabels):
            return made, problems
        extra: dict[str, Any] = {"points": tuple(_points(made, problems))}
        if made.model_add_bboxes:
            extra["boxes"] = _box_control(made, shown, config, settings)
        return made.with_fields(extra), problems

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        points = [
            {"value": point.label.value, "threshold": point.threshold, "index": point.model_index, "of": point.classes}
            for point in self.points
        ]
        return super().fingerprint() | {"points": points} | ({"boxes": self.boxes.fingerprint()} if self.boxes else {})

    @property
    def companion_controls(self) -> tuple[Control, ...]:
        """The rectangle control whose boxes come from this control's weights."""
        return () if self.boxes is None else (self.boxes,)

    @property
    def confidence(self) -> float:
        """The least score of an object that a point or its box asks for."""
        return super().confidence if self.boxes is None else min(super().confidence, self.boxes.confidence)

    def wants_any(self, names: Mapping[int, str]) -> bool:
        """Tell whether a label is for a point of any of the model's classes."""
        known = {folded(name) for name in names.values()}
        return any(not point.classes or known.intersection(point.classes) for point in self.points)

    def problems_with(self, task: str, points: int = 0) -> list[str]:
        """Say which labels are for points that the weights don't have."""
        return [
            f"{self}, label {point.label.value!r}: the weights have {points} points, and model_index is {point.model_index}; "
            "it counts from 0"
            for point in self.points
            if point.model_index >= points
        ]

    def class_problems(self, names: Mapping[int, str]) -> tuple[str, ...]:
        """Say which labels name classes that the model doesn't have."""
        known = {folded(name) for name in names.values()}
        problems = [
            f"{self}: no class {name!r} for label {point.label.value!r}; {classes_of_the_model(names)}"
            for point in self.points
            for name in sorted(set(point.classes) - known)
        ]
        return (*problems, *(self.boxes.class_problems(names) if self.boxes else ()))

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield the points of each object, and its box if there is a control to hold it."""
        if result.keypoints is None or not len(result):
            return
        percent = result.keypoints[..., :2] / (result.width, result.height) * 100
        sure = result.keypoints[..., 2] if result.keypoints.shape[2] > 2 else np.ones(percent.shape[:2])
        boxes = upright_boxes(result)
        held = {box.index: box for box in self.boxes.kept(result)} if self.boxes else {}
        for index, (number, score) in enumerate(zip(result.classes.tolist(), result.scores.tolist(), strict=True)):
            name = spellings(result.names[number])[-1]
            points: dict[int, KeyPoint] = {}
            for point in self.points:
                if (
                    point.model_index < percent.shape[1]
                    and (not point.classes or name in point.classes)
                    and score >= point.threshold
                    and sure[index, point.model_index] >= self.model_point_threshold
                ):
                    points.setdefault(point.model_index, point)
            box = held.get(index)
            parent = {}
            if self.boxes is not None and box is not None:
                x, y, width, height = boxes[index].round(4).tolist()
                value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
                yield from self.boxes.region(box, value, picture)
                parent = {"parentID": self.boxes.local_id(index)}
            for point in points.values():
                x, y = percent[index, point.model_index].astype(float).round(4).tolist()
                place = LabeledDetection(index=f"{index}/{point.model_index}", label=point.label, score=score)
                value = {"x": x, "y": y, "width": min(round(self.model_point_size * 100 / picture.width, 4), 100)}
                for region in self.region(place, value, picture):
                    yield {**region, **parent}


def _points(control: KeyPointLabels, problems: list[str]) -> Iterator[KeyPoint]:
    # Where some labels say which point they are, the others are none: the labels of boxes, in a <Labels> for both.
    by_place = not any("model_index" in label.attributes for label in control.labels)
    taken: list[KeyPoint] = []
    for place, (label, threshold) in enumerate(zip(control.labels, control.label_thresholds, strict=True)):
        index = place if by_place else label_attribute(label, ["model_index"], MODEL_INDEX, str(control), problems)
        if index is None:
            continue
        classes = label.names if "predicted_values" in label.attributes else ()
        point = KeyPoint(
            label=label,
            threshold=threshold,
            model_index=index,
            classes=tuple(sorted(set(map(folded, classes)))),
        )
        first = next((other for other in taken if other.is_also(point)), None)
        if first is not None:
            problems.append(
                f"{control}, label {label.value!r}: point {index} goes to {first.label.value!r} where both want it"
            )
        taken.append(point)
        yield point


def _box_control(
    points: KeyPointLabels, shown: ObjectTag, config: LabelingConfig, settings: Settings
) -> RectangleLabels | None:
    """Return the rectangle control on the same image that wants upright boxes of no weights of its own, or the same."""
    for tag in config.controls:
        if tag.tag in (RectangleLabels.tag, RectangleLabels.shape_tag) and tag.to_name == shown.name:
            boxes, _ = RectangleLabels.from_tag(tag, shown, config, settings)
            if not isinstance(boxes, RectangleLabels) or boxes.model_obb:
                continue
            if boxes.model_path in (None, points.model_path):
                return boxes
    return None
