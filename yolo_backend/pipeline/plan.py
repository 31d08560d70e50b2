"""What the service will do for one labeling config: its controls, the weights they need, and the model version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from yolo_backend.controls import CONTROLS, Control
from yolo_backend.controls.attributes import SpellingCheck
from yolo_backend.controls.labels import LABELS_TAG, label_problems
from yolo_backend.errors import ConfigError
from yolo_backend.inference.options import ModelSpec, PredictOptions
from yolo_backend.inference.weights import WeightsStore
from yolo_backend.label_studio.fingerprint import canonical
from yolo_backend.label_studio.labeling_config import ControlTag, LabelingConfig, Limits, parse_labeling_config
from yolo_backend.label_studio.task_data import Source
from yolo_backend.settings import Settings

PROBLEMS = 100  # of a labeling config that are said
PROBLEM_LENGTH = 500  # characters
FINGERPRINT_FORMAT = 1
"""Part of every model version. Raise it when all tags give other regions than before; one of them has its `revision`."""


@dataclass(frozen=True, kw_only=True)
class InferencePass:
    """One forward pass per picture, shared by all controls that ask the same of the same model.

    Attributes:
        model: which one.
        object_tag: what the controls are on, such as ``Image``.
        source: where a task has the data.
        options: what is asked of the model; the confidence is the least that any of the controls asks for.
        controls: in document order.
    """

    model: ModelSpec
    object_tag: str
    source: Source
    options: PredictOptions
    controls: tuple[Control, ...]

    def for_controls(self, controls: Iterable[Control]) -> InferencePass:
        """Return the same pass for other controls, which ask for the same but for their confidence."""
        controls = tuple(controls)
        confidence = min(control.confidence for control in controls)
        return replace(self, controls=controls, options=replace(self.options, confidence=confidence))

    def __str__(self) -> str:
        return ", ".join(map(str, self.controls))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The controls of one labeling config that a YOLO model fills in.

    Attributes:
        controls: in document order.
        passes: the forward passes that they need.
        problems: in words, what in the labeling config can't be used and why.
        project: whose labeling config it is, for the log; it changes nothing.
    """

    controls: tuple[Control, ...]
    passes: tuple[InferencePass, ...]
    problems: tuple[str, ...]
    project: str | None = None

    def model_version(self, weights: WeightsStore) -> str:
        """Return the model version of this plan, without loading a model.

        The names of the weights and a digest of their content and of everything in the labeling config and the settings
        that changes an answer: another version means that predictions may differ, the same that they don't.
        """
        names = list(dict.fromkeys(step.model.weights for step in self.passes))
        digest = self._digest.copy()
        digest.update(json.dumps({name: weights.digest(name) for name in names}, sort_keys=True).encode() + b"}")
        stems = [PurePosixPath(name).stem for name in names]
        return f"{'+'.join(stems) or 'no-model'}-{digest.hexdigest()[:8]}"

    @cached_property
    def _digest(self) -> Any:
        """The SHA-256 of the version's JSON so far: all but the digests of the weights."""
        weights_of = {control.name: step.model.weights for step in self.passes for control in step.controls}
        controls = [
            canonical(control.fingerprint() | {"weights": weights_of[control.name]}) for control in self.controls
        ]
        state = f'{{"controls": [{", ".join(controls)}], "format": {FINGERPRINT_FORMAT}, "weights": '
        return hashlib.sha256(state.encode())


def make_plan(xml: str, settings: Settings, project: str | None = None) -> Plan:
    """Make the plan for a labeling config. Never fails: what can't be used is left out and named in ``problems``."""
    try:
        limits = Limits(
            max_config_kb=settings.max_config_kb, max_controls=settings.max_controls, max_labels=settings.max_labels
        )
        config = parse_labeling_config(xml, limits)
    except ConfigError as error:
        return Plan(controls=(), passes=(), problems=(str(error),), project=project)
    controls: list[Control] = []
    problems: list[str] = []
    spelling = SpellingCheck()
    uses: dict[ControlTag, list[type[Control]]] = {}
    for tag in config.controls:
        kind, reason = _kind(tag, config)
        if kind is None:
            problems += reason
            continue
        control, found = kind.from_tag(tag, config.objects[tag.to_name], config, settings)
        problems += found
        problems += spelling.problems(tag.attributes, kind.known_attributes(), str(tag))
        if (control is not None or found) and (holder := kind.label_holder(tag, config)):
            uses.setdefault(holder, []).append(kind)
        if control is not None and any(control.name == other.name for other in controls):
            problems.append(f"{tag} left out: another tag has its name")
            continue
        if control is not None:
            controls.append(control)
    for holder, kinds in uses.items():
        if holder.tag == LABELS_TAG:
            known = dict.fromkeys(name for kind in kinds for name in kind.known_attributes())
            problems += spelling.problems(holder.attributes, tuple(known), str(holder))
        attributes = {name: declared for kind in kinds for name, declared in kind.label_attributes.items()}
        problems += label_problems(holder, attributes, spelling)
    problems = list(dict.fromkeys(problems))
    filled = {held.name for control in controls for held in control.companion_controls}
    controls = [control for control in controls if control.name not in filled]
    if not controls and not problems:
        tags = ", ".join(f"<{kind.tag}> on <{kind.object_tag}>" for kind in CONTROLS)
        problems.append(
            f"the labeling config has no tag that a YOLO model can fill in, with a name and a toName; there are {tags}"
        )
    return Plan(
        controls=tuple(controls),
        passes=tuple(_passes(controls, settings)),
        problems=listed(problems),
        project=project,
    )


def listed(problems: Sequence[str]) -> tuple[str, ...]:
    """Return problems as they may go into a log: no more and no longer than somebody would read."""
    shown = [text if len(text) <= PROBLEM_LENGTH else f"{text[:PROBLEM_LENGTH]}…" for text in problems[:PROBLEMS]]
    more = len(problems) - len(shown)
    return (*shown, f"and {more} problems more") if more else tuple(shown)


def _kind(tag: ControlTag, config: LabelingConfig) -> tuple[type[Control] | None, list[str]]:
    """Return which control a tag is; for one that is none of ours None, and in words what is wrong if it should be one."""
    kinds = [kind for kind in CONTROLS if tag.tag in (kind.tag, kind.shape_tag)]
    if not kinds:
        return None, []
    if tag.repeated_on is not None:
        return None, [
            f'{tag} left out: it is in a <Repeater on="{tag.repeated_on}">, which makes more tags for each task; show the '
            "pictures as pages of one tag, with <Image valueList>"
        ]
    shown = config.objects.get(tag.to_name)
    if shown is None:
        names = ", ".join(config.objects) or "there is none"
        return None, [f'{tag}: toName="{tag.to_name}" names no tag that shows data; the names of those: {names}']
    if not shown.source.value:
        return None, [f"{tag} left out: {shown} shows nothing, it has no value"]
    for kind in kinds:
        if kind.object_tag == shown.tag:
            return kind, []
    return None, [f"{tag} is on <{shown.tag}>; it can be filled in on {', '.join(f'<{k.object_tag}>' for k in kinds)}"]


def _passes(controls: Iterable[Control], settings: Settings) -> list[InferencePass]:
    groups: dict[InferencePass, list[Control]] = {}
    for control in controls:
        weights = control.model_path or getattr(settings, f"default_{control.yolo_tasks[0]}_model")
        shared = InferencePass(
            model=ModelSpec(weights=weights),
            object_tag=control.object_tag,
            source=control.source,
            options=replace(control.options, confidence=0.0),
            controls=(),
        )
        groups.setdefault(shared, []).append(control)
    return [shared.for_controls(group) for shared, group in groups.items()]
