"""Which label each class of a model becomes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from yolo_backend.label_studio.class_names import SPELLINGS, quote_name, spellings
from yolo_backend.label_studio.labeling_config import Label

LISTED = 20
"""How many class names, and how many labels without one, are listed before it is said how many more there are."""


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The label and the score threshold of each class of a model.

    Attributes:
        labels: one for each class number; None where no label wants the class.
        thresholds: (classes,) float; infinite where no label wants the class.
        problems: in words, for the people who wrote the labeling config.
    """

    labels: tuple[Label | None, ...]
    thresholds: np.ndarray
    problems: tuple[str, ...]

    def kept(self, classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the indices of the detections that become regions.

        Args:
            classes: (n,) class numbers.
            scores: (n,) confidences from 0 to 1.
        """
        return np.flatnonzero(scores >= self.thresholds[classes.astype(int)])


def label_map(labels: Sequence[Label], names: Sequence[str]) -> dict[str, int]:
    """Map the class names of a model, as the model spells them, to the indices of ``labels``.

    A name that is written exactly as the class wins over one that only looks like it, and that over one that differs in
    case; then the label that comes first.
    """
    mapped: dict[str, int] = {}
    for level in range(SPELLINGS):
        by_spelling: dict[str, list[str]] = {}
        for name in names:
            by_spelling.setdefault(spellings(name)[level], []).append(name)
        for index, label in enumerate(labels):
            for wanted in label.names:
                for name in by_spelling.get(spellings(wanted)[level], ()):
                    mapped.setdefault(name, index)
    return mapped


def match_classes(
    labels: Sequence[Label], label_thresholds: Sequence[float], names: Mapping[int, str], *, owner: str
) -> ClassMap:
    """Match the labels of a control tag with the classes of a model.

    Args:
        labels: of the control tag.
        label_thresholds: the least score for each label.
        names: the model's class names by class number.
        owner: names the control tag and the weights in the problems.
    """
    mapped = label_map(labels, list(names.values()))
    by_class: list[Label | None] = [None] * (max(names, default=-1) + 1)
    thresholds = np.full(len(by_class), np.inf)
    for number, name in names.items():
        if name in mapped:
            by_class[number] = labels[mapped[name]]
            thresholds[number] = label_thresholds[mapped[name]]
    return ClassMap(
        labels=tuple(by_class), thresholds=thresholds, problems=tuple(_problems(labels, mapped, names, owner))
    )


def _problems(labels: Sequence[Label], mapped: Mapping[str, int], names: Mapping[int, str], owner: str) -> list[str]:
    by_folded = {spellings(name)[-1]: name for name in names.values()}
    used = set(mapped.values())
    problems = []
    for index, label in enumerate(labels):
        unknown = [name for name in label.names if spellings(name)[-1] not in by_folded]
        if index in used and not unknown:
            continue
        if not unknown:
            # Every name is a class, but labels above took them all.
            listed = ", ".join(map(quote_name, label.names))
            problems.append(f"label {label.value!r}: {listed or 'no class'} goes to another label")
            continue
        words = [f"no class {', '.join(map(repr, unknown))} for label {label.value!r}"]
        # Among a thousand classes that takes milliseconds for each name, and no more are shown.
        looked_for = unknown[:LISTED] if len(problems) < LISTED else ()
        nearest = [
            quote_name(by_folded[match])
            for name in looked_for
            for match in difflib.get_close_matches(spellings(name)[-1], by_folded, 2)
        ]
        if nearest:
            words.append(f"nearest: {', '.join(dict.fromkeys(nearest))}")
        problems.append("; ".join(words))
    if len(problems) > LISTED:
        problems[LISTED:] = [f"{len(problems) - LISTED} more labels without a class"]
    if problems:
        problems = [f"{owner}: {problem}" for problem in problems]
        problems.append(f"{owner}: {classes_of_the_model(names)}; map them with predicted_values")
    return problems


def classes_of_the_model(names: Mapping[int, str]) -> str:
    """List the classes of a model, as ``predicted_values`` would."""
    listed = ", ".join(quote_name(name) for name in islice(names.values(), LISTED))
    more = len(names) - LISTED
    return f"classes of the model: {f'{listed} and {more} more' if more > 0 else listed or 'none'}"
