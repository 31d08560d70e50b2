"""What all control tags have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from yolo_backend.controls.attributes import Attribute, attribute, declared_attributes, read_attributes
from yolo_backend.controls.classes import ClassMap, match_classes
from yolo_backend.controls.labels import (
    LABEL_ATTRIBUTES,
    LABELS_TAG,
    LabelTable,
    dynamic_labels_problem,
    labels_of,
    thresholds_of,
)
from yolo_backend.inference.options import PredictOptions
from yolo_backend.inference.tiling import Tiling
from yolo_backend.label_studio.fingerprint import with_thresholds
from yolo_backend.label_studio.labeling_config import ControlTag, Label, LabelingConfig, ObjectTag
from yolo_backend.label_studio.task_data import Source
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture
    from yolo_backend.settings import Settings

Made = TypeVar("Made", bound="Control")

CLASS_MAPS = 8  # of a control: it has one model, but its weights may be replaced
STATED_ELSEWHERE = frozenset({"model_path", "model_score_threshold", "model_skip"})
"""Attributes that act through something else in a fingerprint: the weights, and the threshold of each label."""


@dataclass(frozen=True, kw_only=True)
class LabeledDetection:
    """One object that a label wants: its index in the model's result, the label, the score from 0 to 1."""

    index: Any
    label: Label
    score: float


@dataclass(frozen=True, kw_only=True)
class Control(ABC):
    """A control tag of one labeling config that a YOLO model can fill in.

    A subclass says which tag it fills in, what it asks of a model, and how a result becomes regions. Its fields made
    with `attribute` are the XML attributes that it understands.

    Attributes:
        tag: the control tag with its own labels, such as ``RectangleLabels``.
        shape_tag: the tag that draws the same and takes its labels from a ``<Labels>`` tag beside it, such as ``Rectangle``.
        object_tag: what the control tag must be on.
        kind: type of its regions, without ``labels``.
        label_attributes: what a ``<Label>`` of this tag may say to the service.
        other_attributes: of the tag, beside those that are declared as fields.
        revision: part of the model version. Raise it when the same tag and weights give other regions than before.
        name: of the control tag.
        to_name: of the object tag.
        source: where a task has the data of the object tag.
        labels: in document order.
        label_thresholds: the least score for each label.
        labels_name: of the ``<Labels>`` tag beside a shape tag, if this is one.
    """

    tag: ClassVar[str]
    shape_tag: ClassVar[str | None] = None
    label_attributes: ClassVar[Mapping[str, Attribute]] = LABEL_ATTRIBUTES
    other_attributes: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1
    object_tag: ClassVar[str]
    kind: ClassVar[str]

    name: str
    to_name: str
    source: Source
    labels: tuple[Label, ...]
    label_thresholds: tuple[float, ...]
    labels_name: str | None = None

    model_path: str | None = attribute(
        None,
        "File name of the weights, in the service's `MODEL_ROOT` or bundled.",
        kind=str,
        default_doc="the service's default for the task",
    )
    model_score_threshold: float = attribute(
        0.5,
        "Regions below this score are dropped. Also on a `<Label>`, for that label alone.",
        low=0,
        high=1,
        alias="score_threshold",
        default_doc="`MODEL_SCORE_THRESHOLD`, 0.5",
    )
    model_skip: bool = attribute(False, "Leave this tag to people.")
    model_iou: float = attribute(0.7, "Of two boxes that overlap by more, the weaker is dropped.", low=0, high=1)
    model_max_det: int = attribute(300, "At most so many objects per image, the surest.", low=1, high=10000)
    model_imgsz: int | None = attribute(
        None,
        "Size in pixels to which the longer side of an image is brought for the model.",
        kind=int,
        low=32,
        high=8192,
        default_doc="what the weights were trained with",
    )

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag.

        Returns:
            The control, or None if it can't be filled in, and in words what in the tags could not be used.
        """
        holder = cls.label_holder(tag, config)
        if holder is None:
            instead = f", or <{cls.tag}> in its place" if tag.tag == cls.shape_tag else ""
            return None, [f'{tag} needs a <{LABELS_TAG} toName="{tag.to_name}"> beside it{instead}']
        values, problems = read_attributes(cls, {**holder.attributes, **tag.attributes}, owner=str(tag))
        if values.get("model_skip"):
            return None, problems
        table, unfillable = cls.fillable_labels(holder)
        problems += unfillable
        if dynamic := dynamic_labels_problem(holder):
            problems.append(dynamic)
            if not table.labels:
                return None, problems
        values.setdefault("model_score_threshold", cls.default_threshold(values, settings))
        limits = (
            ("model_max_det", settings.max_regions, "MAX_REGIONS"),
            ("model_imgsz", settings.max_imgsz, "MAX_IMGSZ"),
        )
        for name, most, variable in limits:
            if (values.get(name) or 0) > most:
                problems.append(f"{tag}: {name}={values[name]} is more than {variable} allows ({most}), which is taken")
                values[name] = most
        values.setdefault("model_max_det", min(cls.model_max_det, settings.max_regions))
        if values.get("model_path") and not settings.allow_custom_model_path:
            problems.append(f"{tag}: model_path is ignored, since ALLOW_CUSTOM_MODEL_PATH is false")
            del values["model_path"]
        control = cls(
            name=tag.name,
            to_name=tag.to_name,
            source=shown.source,
            labels=table.labels,
            label_thresholds=thresholds_of(table, values["model_score_threshold"]),
            labels_name=holder.name if tag.tag == cls.shape_tag else None,
            **values,
        )
        return control, problems

    @classmethod
    def known_attributes(cls) -> tuple[str, ...]:
        """Return the names of the tag's attributes, in every spelling."""
        declared = (s for name, declared, _ in declared_attributes(cls) for s in declared.spellings(name))
        return (*declared, *cls.other_attributes)

    @classmethod
    def label_holder(cls, tag: ControlTag, config: LabelingConfig) -> ControlTag | None:
        """Return the tag that has the labels of ``tag`` in it: this one, or a ``<Labels>`` beside it."""
        return tag if tag.tag == cls.tag else config.first_control(LABELS_TAG, tag.to_name)

    @classmethod
    def fillable_labels(cls, holder: ControlTag) -> tuple[LabelTable, list[str]]:
        """Return those labels in a tag that can be filled in, and in words why others can't."""
        return labels_of(holder), []

    @classmethod
    def default_threshold(cls, values: Mapping[str, Any], settings: Settings) -> float:
        """Return the least score where neither tag nor label says one; ``values`` are what the tag says."""
        return settings.model_score_threshold

    def __str__(self) -> str:
        return f'<{self.shape_tag if self.labels_name else self.tag} name="{self.name}">'

    @property
    @abstractmethod
    def yolo_tasks(self) -> tuple[str, ...]:
        """What the weights may be for; the default weights are for the first."""

    @property
    def confidence(self) -> float:
        """The least score that any label asks for: what the model must be asked for."""
        return min(self.label_thresholds, default=self.model_score_threshold)

    @property
    def options(self) -> PredictOptions:
        """What a model is to be asked for this control."""
        return PredictOptions(
            confidence=self.confidence, iou=self.model_iou, max_det=self.model_max_det, imgsz=self.model_imgsz
        )

    @property
    def companion_controls(self) -> tuple[Control, ...]:
        """Controls that this one fills in too; where its weights are no good for it, alone, if they aren't left to people."""
        return ()

    def fingerprint(self) -> dict[str, Any]:
        """Return what changes the regions of this control, ready for JSON; the model version is a digest over it.

        It is stated in the words of the labeling config, not of this code, and attributes at their defaults are left out:
        neither a renamed class nor a new attribute may change anybody's version. A control with fields beside its
        attributes adds those. The weights are not part of it.
        """
        attributes = {
            name: value
            for name, _, default in declared_attributes(type(self))
            if name not in STATED_ELSEWHERE and (value := getattr(self, name)) != default
        }
        return {
            "tag": self.shape_tag if self.labels_name else self.tag,
            "name": self.name,
            "toName": self.to_name,
            "valueList" if self.source.pages else "value": self.source.value,
            "labels": with_thresholds((label.fingerprint for label in self.labels), self.label_thresholds),
            **({"labels_name": self.labels_name} if self.labels_name else {}),
            **({"revision": self.revision} if self.revision > 1 else {}),
            **attributes,
        }

    def problems_with(self, task: str, points: int = 0) -> list[str]:
        """Say in words what weights can't give, though they can be used.

        Args:
            task: of YOLO's that they are for.
            points: how many an object has, for pose.
        """
        return []

    def wants_any(self, names: Mapping[int, str]) -> bool:
        """Tell whether any class of a model goes to a label."""
        return bool(np.isfinite(self.class_map(names).thresholds).any())

    def class_problems(self, names: Mapping[int, str]) -> tuple[str, ...]:
        """Say in words which labels don't go with the classes of a model."""
        return self.class_map(names).problems

    def class_map(self, names: Mapping[int, str]) -> ClassMap:
        """Return which label and threshold each class of a model has in this control; made once for each model."""
        key = tuple(names.items())
        if key not in self._class_maps:
            if len(self._class_maps) >= CLASS_MAPS:
                self._class_maps.clear()
            weights = f" with {self.model_path}" if self.model_path else ""
            self._class_maps[key] = match_classes(self.labels, self.label_thresholds, names, owner=f"{self}{weights}")
        return self._class_maps[key]

    @cached_property
    def _class_maps(self) -> dict[tuple[tuple[int, str], ...], ClassMap]:
        return {}

    def match_labels(
        self, names: Mapping[int, str], classes: Sequence[int] | np.ndarray, scores: np.ndarray
    ) -> list[LabeledDetection]:
        """Return what a label wants of the objects that a model found, in their order.

        Args:
            names: of the model's classes.
            classes: (n,) class numbers.
            scores: (n,) from 0 to 1.
        """
        classes = np.asarray(classes, dtype=int)
        by_class = self.class_map(names)
        return [
            LabeledDetection(index=int(index), label=label, score=float(scores[index]))
            for index in by_class.kept(classes, scores)
            if (label := by_class.labels[classes[index]]) is not None
        ]

    def local_id(self, index: int | str) -> str:
        """Return an id for the region of an object that is unique within its task."""
        return f"{self.name}/{index}"

    def with_fields(self: Made, fields: dict[str, Any]) -> Made:
        """Return the same control with other values of some fields."""
        return replace(self, **fields)


@dataclass(frozen=True, kw_only=True)
class ImageControl(Control):
    """A control tag on an ``<Image>``, filled in from one result of a model per picture."""

    object_tag: ClassVar[str] = "Image"

    model_tile: int | None = attribute(
        None,
        "For small objects in large images: the model also looks at tiles of so many pixels of the image.",
        kind=int,
        low=64,
        high=8192,
        default_doc="the whole image alone",
    )
    model_tile_overlap: float = attribute(
        0.2, "How far neighbouring tiles overlap at least, as a part of their size.", low=0, high=0.8
    )

    @property
    def options(self) -> PredictOptions:
        """What a model is to be asked for this control."""
        tiling = None if self.model_tile is None else Tiling(self.model_tile, self.model_tile_overlap)
        return replace(super().options, tiling=tiling)

    @abstractmethod
    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Turn what the model found on ``picture`` into regions, in the order of their scores."""

    def kept(self, result: Detections) -> list[LabeledDetection]:
        """Return the objects of a result that a label wants, in their order."""
        return self.match_labels(result.names, result.classes, result.scores)

    def region(self, found: LabeledDetection, value: dict[str, Any], picture: Picture) -> Iterator[Region]:
        """Yield the regions of one object: one, or two with one id where shape and label are two tags.

        Args:
            found: the object.
            value: coordinates in percent.
            picture: gives the size that the percentages refer to.
        """
        common = {
            "id": self.local_id(found.index),
            "to_name": self.to_name,
            "score": round(found.score, 4),
            "original_width": picture.width,
            "original_height": picture.height,
            "image_rotation": 0,
        }
        if self.labels_name is None:
            kind = f"{self.kind}labels"
            yield {**common, "from_name": self.name, "type": kind, "value": {**value, kind: [found.label.value]}}
        else:
            yield {**common, "from_name": self.name, "type": self.kind, "value": value}
            labelled = {**value, "labels": [found.label.value]}
            yield {**common, "from_name": self.labels_name, "type": "labels", "value": labelled}
