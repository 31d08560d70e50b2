"""The labels of a control tag: what they say to the service, read once however many tags share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from yolo_backend.controls.attributes import Attribute, SpellingCheck
from yolo_backend.label_studio.labeling_config import ControlTag, Label
from yolo_backend.label_studio.task_data import has_variable

LABELS_TAG = "Labels"
"""The tag that holds the labels of shape tags on the same object."""

THRESHOLD = Attribute(kind=float, doc="The threshold for this label alone.", low=0, high=1)
THRESHOLD_SPELLINGS = ("model_score_threshold", "score_threshold")
LABEL_ATTRIBUTES: Mapping[str, Attribute] = {
    "predicted_values": Attribute(kind=str, doc="The model's classes that become this label."),
    **dict.fromkeys(THRESHOLD_SPELLINGS, THRESHOLD),
}
"""What a ``<Label>`` or ``<Choice>`` of any tag may say."""

REMEMBERED = 256  # tags whose labels were read


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels that a tag can be filled in with, and the least score of each that says one itself."""

    labels: tuple[Label, ...]
    thresholds: tuple[float | None, ...]

    def without(self, labels: Sequence[Label]) -> LabelTable:
        """Return the table without some labels."""
        if not labels:
            return self
        left_out = set(map(id, labels))
        kept = [index for index, label in enumerate(self.labels) if id(label) not in left_out]
        return LabelTable(tuple(self.labels[i] for i in kept), tuple(self.thresholds[i] for i in kept))


@lru_cache(maxsize=REMEMBERED)
def labels_of(holder: ControlTag) -> LabelTable:
    """Return the labels in a tag, but not those that each task names anew."""
    labels = tuple(label for label in holder.labels if not label.varies)
    return LabelTable(labels, tuple(label_attribute(label, THRESHOLD_SPELLINGS, THRESHOLD) for label in labels))


@lru_cache(maxsize=REMEMBERED)
def thresholds_of(table: LabelTable, default: float) -> tuple[float, ...]:
    """Return the least score for each label: its own, or the tag's."""
    return tuple(default if own is None else own for own in table.thresholds)


def label_attribute(label: Label, spellings: Sequence[str], declared: Attribute) -> Any:
    """Return what a label says in the first of ``spellings`` that it has; None if it says nothing usable."""
    for spelling in spellings:
        if spelling in label.attributes:
            try:
                return declared.parse(label.attributes[spelling])
            except ValueError:
                continue
    return None


def dynamic_labels_problem(holder: ControlTag) -> str | None:
    """Say in words that a tag gets labels from the task or from an address, if it does: these can't be filled in."""
    for name in ("value", "apiurl"):
        text = holder.attributes.get(name, "")
        if has_variable(text) or (name == "apiurl" and text):
            return (
                f'{holder}: the labels that {name}="{text}" brings with each task are not filled in; list those that are '
                "wanted in the labeling config"
            )
    return None


def label_problems(holder: ControlTag, known: Mapping[str, Attribute], spelling: SpellingCheck) -> Iterator[str]:
    """Say in words what the labels of a tag say and can't be used.

    Args:
        holder: the tag with the labels in it.
        known: what labels may say to the controls that the tag is for.
        spelling: of the labeling config.
    """
    for label in holder.labels:
        owner = f"{holder}, label {label.value!r}"
        if label.varies:
            yield f"{owner} left out: each task gives it another name; give it an alias, or name it in the labeling config"
        for name in [name for name in known if name in label.attributes]:
            try:
                known[name].parse(label.attributes[name])
            except ValueError as error:
                yield f"{owner}: {name}={label.attributes[name]!r} is ignored: {error}"
        yield from spelling.problems(label.attributes, tuple(known), owner)
