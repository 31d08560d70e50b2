"""TimelineLabels: what a classification model sees in a video, as ranges of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from yolo_backend.controls.attributes import attribute
from yolo_backend.controls.base import Control
from yolo_backend.controls.observer import Observer
from yolo_backend.controls.ranges import Ranges
from yolo_backend.controls.video_control import VideoControl
from yolo_backend.inference.options import PredictOptions
from yolo_backend.label_studio.labeling_config import ControlTag, LabelingConfig, ObjectTag
from yolo_backend.media.video import Frame
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.settings import Settings

LEARNING = (
    "model_trainable",
    *(f"model_classifier_{name}" for name in ("epochs", "sequence_size", "hidden_size", "num_layers")),
    *(f"model_classifier_{name}_threshold" for name in ("f1", "accuracy")),
)
"""Attributes for a classifier that Label Studio's YOLO example trains from annotations."""


@dataclass(frozen=True, kw_only=True)
class TimelineLabels(VideoControl):
    """Fills ``<TimelineLabels>``: one region for each range of frames, several labels at once if their scores say so.

    A region holds a single range, although its value is a list: dragging an end in the editor would drop the others.
    """

    tag: ClassVar[str] = "TimelineLabels"
    kind: ClassVar[str] = "timelinelabels"
    yolo_tasks: ClassVar[tuple[str, ...]] = ("classify",)
    other_attributes: ClassVar[tuple[str, ...]] = LEARNING

    model_frame_step: int = attribute(
        1, "Every n-th frame is classified and speaks for those up to the next one.", low=1, high=100_000
    )
    model_max_gap: int = attribute(
        5, "A label that goes off for at most so many frames stays on through them.", low=0, high=100_000
    )
    model_min_frames: int = attribute(
        3, "Ranges of fewer frames are dropped, after gaps were bridged.", low=1, high=100_000
    )

    model_whole_image: bool = attribute(
        False, "Let the model see the whole picture, padded to a square. Otherwise it sees the square in the middle."
    )

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag; see `Control.from_tag`."""
        made, problems = super().from_tag(tag, shown, config, settings)
        trainable = tag.attributes.get("model_trainable", "false").strip().lower()
        if made is not None and trainable not in ("false", "0", "no", ""):
            problems.append(
                f"{tag}: model_trainable is ignored, since no classifier is trained from annotations here; remove it and "
                "the model_classifier attributes, and name classes of the model in predicted_values of the labels"
            )
        return made, problems

    @property
    def options(self) -> PredictOptions:
        """What a model is to be asked for this control."""
        return replace(super().options, whole_image=self.model_whole_image)

    def observer(self, names: Mapping[int, str], data: Mapping[str, Any]) -> Observer:
        """Return what collects the ranges of one video."""
        return _Timeline(self, names, data)


class _Timeline(Observer):
    """Collects when each label is on in one video."""

    def __init__(self, control: TimelineLabels, names: Mapping[int, str], data: Mapping[str, Any]) -> None:
        self._control = control
        self._names = names
        self._editor = control.editor_frames(data)
        self._ranges = {
            label.value: Ranges(max_gap=control.model_max_gap, min_frames=control.model_min_frames)
            for label in control.labels
        }

    def wants(self, frame: Frame) -> bool:
        return self._classified(frame) is not None

    def see(self, frame: Frame, result: Detections) -> None:
        span = self._classified(frame)
        if span is None:
            return
        scores = result.probabilities
        on: dict[str, float] = {}
        for found in self._control.match_labels(self._names, range(len(scores)), scores):
            on[found.label.value] = max(found.score, on.get(found.label.value, 0))
        for label, score in on.items():
            self._ranges[label].add(*span, score)

    def regions(self, duration: float) -> Iterator[Region]:
        frames = self._editor.count(duration)
        found = [
            (span.start, number, label, span)
            for number, (label, ranges) in enumerate(self._ranges.items())
            for span in ranges.finish(frames)
        ]
        for start, number, label, span in sorted(found, key=lambda item: item[:2]):
            yield {
                "id": self._control.local_id(f"{number}/{start}"),
                "from_name": self._control.name,
                "to_name": self._control.to_name,
                "type": self._control.kind,
                "value": {"ranges": [{"start": span.start, "end": span.end}], self._control.kind: [label]},
                "score": round(span.score, 4),
            }

    def _classified(self, frame: Frame) -> tuple[int, int] | None:
        """Return the frame numbers that a picture speaks for, both included, if it is one to be classified.

        Frames 1, 1 + n, 1 + 2n, … of the editor are; a picture that stays on screen may be several of them.
        """
        shown = self._editor.shown(frame.start, frame.end)
        step = self._control.model_frame_step
        first = 1 + step * math.ceil((shown.start - 1) / step)
        if first >= shown.stop:
            return None
        last = 1 + step * ((shown.stop - 2) // step)
        return first, last + step - 1
