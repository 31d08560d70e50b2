"""Choices and Taxonomy: the class of a whole image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from yolo_backend.controls.attributes import attribute
from yolo_backend.controls.base import Control, ImageControl, LabeledDetection
from yolo_backend.controls.classes import match_classes
from yolo_backend.controls.labels import LabelTable, labels_of
from yolo_backend.inference.options import PredictOptions
from yolo_backend.label_studio.labeling_config import ControlTag, Label, LabelingConfig, ObjectTag
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.media import Picture
    from yolo_backend.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ClassControl(ImageControl):
    """A control that says what a whole image is. Only classes that a label wants compete.

    Attributes:
        most: labels that an image may have.
        per_item: it is about one of the images of its tag, though that may have but one.
    """

    yolo_tasks: ClassVar[tuple[str, ...]] = ("classify",)
    most: int = 1
    per_item: bool = False

    model_whole_image: bool = attribute(
        False, "Let the model see the whole picture, padded to a square. Otherwise it sees the square in the middle."
    )

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag; see `Control.from_tag`."""
        made, problems = super().from_tag(tag, shown, config, settings)
        if made is None:
            return None, problems
        on = {name for name, value in tag.attributes.items() if value.lower() == "true"}
        if "perregion" in on:
            return None, [f"{tag} left out: with perRegion it says what a region is, and the model what an image is"]
        if shown.source.pages and "peritem" not in on:
            return None, [f'{tag} left out: on several pages it needs perItem="true", to say what each of them is']
        if made.options.tiling is not None:
            problems.append(
                f"{made}: model_tile is ignored, since a tile doesn't say what the whole image is; model_imgsz lets the "
                "model see finer detail"
            )
        return made.with_fields({"per_item": "peritem" in on, "model_tile": None}), problems

    @property
    def options(self) -> PredictOptions:
        """What a model is to be asked for this control."""
        return replace(super().options, whole_image=self.model_whole_image)

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        extra = {"most": self.most} if self.most != 1 else {}
        return super().fingerprint() | extra | ({"perItem": True} if self.per_item else {})

    def chosen(self, result: Detections) -> list[LabeledDetection]:
        """Return the labels of the likeliest classes above their thresholds, the likeliest first, at most `most`."""
        scores = result.probabilities
        best: dict[Label, LabeledDetection] = {}
        for found in self.match_labels(result.names, range(len(scores)), scores):
            if found.label not in best or best[found.label].score < found.score:
                best[found.label] = found
        return sorted(best.values(), key=lambda found: -found.score)[: self.most]

    def whole(self, chosen: list[LabeledDetection], values: list[Any]) -> Iterator[Region]:
        """Yield the one region that says what the image is, if anything was chosen."""
        if chosen:
            yield {
                "id": self.local_id(0),
                "from_name": self.name,
                "to_name": self.to_name,
                "type": self.kind,
                "value": {self.kind: values},
                "score": round(sum(found.score for found in chosen) / len(chosen), 4),
                **({"item_index": 0} if self.per_item else {}),
            }


@dataclass(frozen=True, kw_only=True)
class Choices(ClassControl):
    """Fills ``<Choices>`` on an ``<Image>``: the likeliest choice, or with ``choice="multiple"`` all above the threshold.

    Attributes:
        nested: Whether choices are in choices; the editor then wants the whole path of each, of those at the top too.
    """

    tag: ClassVar[str] = "Choices"
    kind: ClassVar[str] = "choices"

    nested: bool = False

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag."""
        made, problems = super().from_tag(tag, shown, config, settings)
        if not isinstance(made, Choices):
            return made, problems
        most = len(made.labels) if tag.attributes.get("choice") == "multiple" else made.most
        return made.with_fields({"nested": _is_nested(tag), "most": most}), problems

    @classmethod
    def fillable_labels(cls, holder: ControlTag) -> tuple[LabelTable, list[str]]:
        """Return the choices that the editor ticks: those at the top, or with ``allowNested`` those at the ends."""
        table = labels_of(holder)
        if not _is_nested(holder):
            below = [label for label in table.labels if len(label.path) > 1]
            return table.without(below), [
                f'{holder}, label {label.value!r} left out: a choice in a choice is not shown without allowNested="true"'
                for label in below
            ]
        branches = {label.path[:-1] for label in holder.labels}
        above = [label for label in table.labels if label.path in branches]
        return table.without(above), [
            f"{holder}, label {label.value!r} left out: it is ticked where all choices in it are; list its classes in theirs"
            for label in above
            if "predicted_values" in label.attributes
        ]

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        return super().fingerprint() | ({"allowNested": True} if self.nested else {})

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield what is chosen, if anything is; nested choices as the path to each."""
        chosen = self.chosen(result)
        yield from self.whole(chosen, [list(c.label.path) if self.nested else c.label.value for c in chosen])


def _is_nested(tag: ControlTag) -> bool:
    return tag.attributes.get("allownested", "").lower() == "true"


@dataclass(frozen=True, kw_only=True)
class Taxonomy(ClassControl):
    """Fills ``<Taxonomy>`` on an ``<Image>``: the path from the root to the likeliest class's node."""

    tag: ClassVar[str] = "Taxonomy"
    kind: ClassVar[str] = "taxonomy"

    def class_problems(self, names: Mapping[int, str]) -> tuple[str, ...]:
        """Say in words which leaves don't go with the classes of a model; a branch need not be a class."""
        branches = {label.path[:-1] for label in self.labels}
        leaves = [label for label in self.labels if label.path not in branches]
        return match_classes(leaves, [0.0] * len(leaves), names, owner=str(self)).problems

    def regions(self, result: Detections, picture: Picture) -> Iterator[Region]:
        """Yield the path of what is chosen, if anything is."""
        chosen = self.chosen(result)
        yield from self.whole(chosen, [list(found.label.path) for found in chosen])
