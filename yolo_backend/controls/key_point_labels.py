"""KeyPointLabels: the points of a pose model, tied to the boxes of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolo_backend.controls.attributes import Attribute, attribute, read_attributes
from yolo_backend.controls.base import Control, ImageControl, LabeledDetection
from yolo_backend.controls.boxes import upright_boxes
from yolo_backend.controls.classes import classes_of_the_model
from yolo_backend.controls.labels import REMEMBERED, label_attribute, labels_of
from yolo_backend.controls.rectangle_labels import RectangleLabels
from yolo_backend.label_studio.class_names import folded, spellings
from yolo_backend.label_studio.fingerprint import around_threshold, with_thresholds
from yolo_backend.label_studio.labeling_config import ControlTag, Label, LabelingConfig, ObjectTag
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture
    from yolo_backend.settings import Settings


@dataclass(frozen=True, kw_only=True)
class KeyPoint:
    """Which point of which objects a label is for.

    Attributes:
        label: whose point it is.
        place: of the label among the tag's, from 0.
        model_index: the point's number in the model, from 0.
        classes: the names of the objects' classes, folded; empty: of any object.
    """

    label: Label
    place: int
    model_index: int
    classes: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> tuple[str, str]:
        """What of the point changes an answer, as JSON around its threshold."""
        return around_threshold({"value": self.label.value, "index": self.model_index, "of": self.classes})


MODEL_INDEX = Attribute(
    kind=int, doc="On a `<Label>`: the number of the point in the model, from 0.", low=0, high=10000
)
BOXES_NAME = "{}_bbox"
"""Name of the rectangle control that holds the objects' boxes of a key point control, even if it is left to people else."""


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
    label_attributes: ClassVar[Mapping[str, Attribute]] = {**ImageControl.label_attributes, "model_index": MODEL_INDEX}

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
        holder = cls.label_holder(tag, config)
        if not isinstance(made, KeyPointLabels) or holder is None:
            return made, problems
        points, doubles = _points(holder)
        boxes = _box_control(made, shown, config, settings) if made.model_add_bboxes else None
        return made.with_fields({"points": points, "boxes": boxes}), [*problems, *doubles]

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        thresholds = (self.label_thresholds[point.place] for point in self.points)
        points = with_thresholds((point.fingerprint for point in self.points), thresholds)
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
                    and score >= self.label_thresholds[point.place]
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


@lru_cache(maxsize=REMEMBERED)
def _points(holder: ControlTag) -> tuple[tuple[KeyPoint, ...], tuple[str, ...]]:
    """Return the points that the labels of a tag are for, and in words which of them several want."""
    labels = labels_of(holder).labels
    # Where some labels say which point they are, the others are none: the labels of boxes, in a <Labels> for both.
    by_place = not any("model_index" in label.attributes for label in labels)
    points: list[KeyPoint] = []
    problems: list[str] = []
    first: dict[int, int] = {}  # the first place that wants a point
    first_of: dict[tuple[int, str | None], int] = {}  # the same for objects of a class; None: of any
    for place, label in enumerate(labels):
        index = place if by_place else label_attribute(label, ["model_index"], MODEL_INDEX)
        if index is None:
            continue
        classes = label.names if "predicted_values" in label.attributes else ()
        point = KeyPoint(label=label, place=place, model_index=index, classes=tuple(sorted(set(map(folded, classes)))))
        wanted = [(index, name) for name in (*point.classes, None)]
        before = [first_of[key] for key in wanted if key in first_of]
        if not point.classes and index in first:
            before.append(first[index])
        if before:
            other = labels[min(before)].value
            problems.append(f"{holder}, label {label.value!r}: point {index} goes to {other!r} where both want it")
        first.setdefault(index, place)
        for name in point.classes or (None,):
            first_of.setdefault((index, name), place)
        points.append(point)
    return tuple(points), tuple(problems)


def _box_control(
    points: KeyPointLabels, shown: ObjectTag, config: LabelingConfig, settings: Settings
) -> RectangleLabels | None:
    """Return the rectangle control on the same image that holds the boxes of the objects.

    It is the one that is named after the key points (`BOXES_NAME`), or one that wants upright boxes from no weights of its
    own or the same. Where the first is left to people (``model_skip``), it is filled in with the points alone, and from
    their thresholds.
    """
    named = BOXES_NAME.format(points.name)
    tags = [
        tag
        for tag in config.controls
        if tag.tag in (RectangleLabels.tag, RectangleLabels.shape_tag) and tag.to_name == shown.name
    ]
    for tag in sorted(tags, key=lambda tag: tag.name != named):
        holder = RectangleLabels.label_holder(tag, config)
        if holder is None:
            continue
        values, _ = read_attributes(RectangleLabels, {**holder.attributes, **tag.attributes}, owner=str(tag))
        own_weights = values.get("model_path") if settings.allow_custom_model_path else None
        if values.get("model_skip"):
            if tag.name == named:
                return _boxes_of(points, tag, shown, config, settings)
        elif not values.get("model_obb") and own_weights in (None, points.model_path):
            boxes, _ = RectangleLabels.from_tag(tag, shown, config, settings)
            return boxes if isinstance(boxes, RectangleLabels) else None
    return None


def _boxes_of(
    points: KeyPointLabels, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
) -> RectangleLabels | None:
    """Make the control of a tag that is filled in with key points alone."""
    threshold = settings.model_copy(update={"model_score_threshold": points.model_score_threshold})
    filled = replace(tag, attributes={**tag.attributes, "model_skip": "false", "model_obb": "false"})
    boxes, _ = RectangleLabels.from_tag(filled, shown, config, threshold)
    return boxes.with_fields({"model_skip": True}) if isinstance(boxes, RectangleLabels) else None
