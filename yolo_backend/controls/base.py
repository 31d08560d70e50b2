"""What all control tags have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from yolo_backend.controls.attributes import attribute, read_attributes
from yolo_backend.controls.classes import ClassMap, match_classes
from yolo_backend.labeling_config import ControlTag, Label, ObjectTag

if TYPE_CHECKING:
    from ultralytics.engine.results import Results

    from yolo_backend.media import Picture
    from yolo_backend.settings import Settings

Region = dict[str, Any]
"""One region as Label Studio's JSON has it; its ``id`` is unique within the control until the prediction is put together."""

LABEL_THRESHOLDS = ("model_score_threshold", "score_threshold")


@dataclass(frozen=True, kw_only=True)
class Control(ABC):
    """A control tag of one labeling config that a YOLO model can fill in.

    A subclass says which tag it fills in, what it asks of a model, and how a result becomes regions. Its fields made
    with `attribute` are the XML attributes that it understands.
    """

    tag: ClassVar[str]
    object_tag: ClassVar[str]
    yolo_task: ClassVar[str]

    name: str
    to_name: str
    value: str
    labels: tuple[Label, ...]
    label_thresholds: tuple[float, ...]

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
    def from_tag(cls, tag: ControlTag, shown: ObjectTag, settings: Settings) -> tuple[Control, list[str]]:
        """Make the control of a tag.

        Returns:
            The control, and in words what in the tag could not be used.
        """
        values, problems = read_attributes(cls, tag.attributes, owner=str(tag))
        values.setdefault("model_score_threshold", settings.model_score_threshold)
        threshold = values["model_score_threshold"]
        if values.get("model_path") and not settings.allow_custom_model_path:
            problems.append(f"{tag}: model_path is ignored, since ALLOW_CUSTOM_MODEL_PATH is false")
            del values["model_path"]
        thresholds = []
        for label in tag.labels:
            own = _own_threshold(label, f"{tag}, label {label.value!r}", problems)
            thresholds.append(threshold if own is None else own)
        control = cls(
            name=tag.name,
            to_name=tag.to_name,
            value=shown.value,
            labels=tag.labels,
            label_thresholds=tuple(thresholds),
            **values,
        )
        return control, problems

    def __str__(self) -> str:
        return f'<{self.tag} name="{self.name}">'

    @property
    def confidence(self) -> float:
        """The least score that any label asks for: what the model must be asked for."""
        return min(self.label_thresholds, default=self.model_score_threshold)

    def class_map(self, names: Mapping[int, str]) -> ClassMap:
        """Return which label and threshold each class of a model has in this control."""
        return _class_map(self, tuple(names.items()))

    @abstractmethod
    def regions(self, result: Results, picture: Picture) -> Iterator[Region]:
        """Turn what the model found on ``picture`` into regions, in the order of their scores."""

    def region(
        self, index: int, kind: str, value: dict[str, Any], label: str | None, score: float, picture: Picture
    ) -> Region:
        """Put together one image region.

        Args:
            index: of the detection in its result; regions of one detection share it, and so their id.
            kind: type of the region, which is also the key of its labels.
            value: coordinates in percent.
            label: what to call it.
            score: from 0 to 1.
            picture: gives the size that the percentages refer to.
        """
        return {
            "id": str(index),
            "from_name": self.name,
            "to_name": self.to_name,
            "type": kind,
            "value": value | {kind: [label]},
            "score": round(float(score), 4),
            "original_width": picture.width,
            "original_height": picture.height,
            "image_rotation": 0,
        }


def _own_threshold(label: Label, owner: str, problems: list[str]) -> float | None:
    declared = Control.__dataclass_fields__["model_score_threshold"].metadata["attribute"]
    for spelling in LABEL_THRESHOLDS:
        if spelling in label.attributes:
            try:
                return float(declared.parse(label.attributes[spelling]))
            except ValueError as error:
                problems.append(f"{owner}: {spelling}={label.attributes[spelling]!r} is ignored: {error}")
    return None


@lru_cache(maxsize=1024)
def _class_map(control: Control, names: tuple[tuple[int, str], ...]) -> ClassMap:
    weights = f" with {control.model_path}" if control.model_path else ""
    return match_classes(control.labels, control.label_thresholds, dict(names), owner=f"{control}{weights}")
