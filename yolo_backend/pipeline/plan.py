"""What the service will do for one labeling config: its controls, the weights they need, and the model version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from yolo_backend.controls import CONTROLS, Control
from yolo_backend.errors import ConfigError
from yolo_backend.inference.tiling import Tiling
from yolo_backend.inference.weights import WeightsStore
from yolo_backend.label_studio.labeling_config import ControlTag, LabelingConfig, Limits, Source, parse_labeling_config
from yolo_backend.settings import Settings

PROBLEMS = 100  # of a labeling config that are said
PROBLEM_LENGTH = 500  # characters
FINGERPRINT_FORMAT = 1
"""Part of every model version. Raise it when the same labeling config and weights give other regions than before."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward pass per picture, shared by all controls that ask the same of the same weights."""

    weights: str
    object_tag: str
    source: Source
    iou: float
    max_det: int
    imgsz: int | None
    whole_image: bool
    tiling: Tiling | None
    controls: tuple[Control, ...]

    @property
    def confidence(self) -> float:
        """The least score that any of the controls asks for."""
        return min(control.confidence for control in self.controls)

    @property
    def options(self) -> dict[str, Any]:
        """What `Model.predict` is to be asked."""
        return {
            "confidence": self.confidence,
            "iou": self.iou,
            "max_det": self.max_det,
            "imgsz": self.imgsz,
            "whole_image": self.whole_image,
            "tiling": self.tiling,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The controls of one labeling config that a YOLO model fills in.

    Attributes:
        controls: in document order.
        passes: the forward passes that they need.
        problems: in words, what in the labeling config can't be used and why.
    """

    controls: tuple[Control, ...]
    passes: tuple[Pass, ...]
    problems: tuple[str, ...]

    def model_version(self, weights: WeightsStore) -> str:
        """Return the model version of this plan, without loading a model.

        The names of the weights and a digest of their content and of everything in the labeling config and the settings
        that changes an answer: another version means that predictions may differ, the same that they don't.
        """
        names = list(dict.fromkeys(one.weights for one in self.passes))
        weights_of = {control.name: one.weights for one in self.passes for control in one.controls}
        state = {
            "format": FINGERPRINT_FORMAT,
            "controls": [control.fingerprint() | {"weights": weights_of[control.name]} for control in self.controls],
            "weights": {name: weights.digest(name) for name in names},
        }
        digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
        stems = [PurePosixPath(name).stem for name in names]
        return f"{'+'.join(stems) or 'no-model'}-{digest[:8]}"


def make_plan(xml: str, settings: Settings) -> Plan:
    """Make the plan for a labeling config. Never fails: what can't be used is left out and named in ``problems``."""
    try:
        limits = Limits(
            max_config_kb=settings.max_config_kb, max_controls=settings.max_controls, max_labels=settings.max_labels
        )
        config = parse_labeling_config(xml, limits)
    except ConfigError as error:
        return Plan(controls=(), passes=(), problems=(str(error),))
    controls: list[Control] = []
    problems: list[str] = []
    for tag in config.controls:
        control, found = _control(tag, config, settings)
        problems += found
        if control is not None and any(control.name == other.name for other in controls):
            problems.append(f"{tag} left out: another tag has its name")
            continue
        if control is not None:
            controls.append(control)
    filled = {held.name for control in controls for held in control.held}
    controls = [control for control in controls if control.name not in filled]
    if not controls and not problems:
        tags = ", ".join(f"<{kind.tag}> on <{kind.object_tag}>" for kind in CONTROLS)
        problems.append(
            f"the labeling config has no tag that a YOLO model can fill in, with a name and a toName; there are {tags}"
        )
    return Plan(controls=tuple(controls), passes=tuple(_passes(controls, settings)), problems=listed(problems))


def listed(problems: Sequence[str]) -> tuple[str, ...]:
    """Return problems as they may go into a log: no more and no longer than somebody would read."""
    shown = [one if len(one) <= PROBLEM_LENGTH else f"{one[:PROBLEM_LENGTH]}…" for one in problems[:PROBLEMS]]
    more = len(problems) - len(shown)
    return (*shown, f"and {more} problems more") if more else tuple(shown)


def _control(tag: ControlTag, config: LabelingConfig, settings: Settings) -> tuple[Control | None, list[str]]:
    kinds = [kind for kind in CONTROLS if tag.tag in (kind.tag, kind.shape_tag)]
    if not kinds:
        return None, []
    shown = config.objects.get(tag.to_name)
    if shown is None:
        names = ", ".join(config.objects) or "there is none"
        return None, [f'{tag}: toName="{tag.to_name}" names no tag that shows data; the names of those: {names}']
    for kind in kinds:
        if kind.object_tag == shown.tag:
            return kind.from_tag(tag, shown, config, settings)
    return None, [f"{tag} is on <{shown.tag}>; it can be filled in on {', '.join(f'<{k.object_tag}>' for k in kinds)}"]


def _passes(controls: Iterable[Control], settings: Settings) -> list[Pass]:
    groups: dict[tuple[str, str, Source, float, int, int | None, bool, Tiling | None], list[Control]] = {}
    for control in controls:
        weights = control.model_path or getattr(settings, f"default_{control.yolo_tasks[0]}_model")
        asked = (
            control.model_iou,
            control.model_max_det,
            control.model_imgsz,
            getattr(control, "model_whole_image", False),
            control.tiling,
        )
        groups.setdefault((weights, control.object_tag, control.source, *asked), []).append(control)
    return [
        Pass(
            weights=weights,
            object_tag=object_tag,
            source=source,
            iou=iou,
            max_det=max_det,
            imgsz=imgsz,
            whole_image=whole_image,
            tiling=tiling,
            controls=tuple(group),
        )
        for (weights, object_tag, source, iou, max_det, imgsz, whole_image, tiling), group in groups.items()
    ]
