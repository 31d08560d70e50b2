"""VideoRectangle: objects of a detection model, followed through a video."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolo_backend.controls.attributes import Attribute, attribute
from yolo_backend.controls.base import Control
from yolo_backend.controls.boxes import upright_boxes
from yolo_backend.controls.key_frames import key_frames
from yolo_backend.controls.labels import LABELS_TAG
from yolo_backend.controls.observer import Observer
from yolo_backend.controls.video_control import VideoControl
from yolo_backend.inference.tracking import APPEARANCE, CAMERA_MOTION, Parameter, Tracker, parameters_for, trackers
from yolo_backend.label_studio.labeling_config import ControlTag, Label, LabelingConfig, ObjectTag
from yolo_backend.media.video import Frame
from yolo_backend.tasks import Region

if TYPE_CHECKING:
    from yolo_backend.inference import Detections
    from yolo_backend.settings import Settings

DEFAULT_TRACKER = "botsort"


@dataclass(frozen=True, kw_only=True)
class VideoRectangle(VideoControl):
    """Fills ``<VideoRectangle>`` with the labels of a ``<Labels>`` beside it: one region for each object.

    Attributes:
        tracker_parameters: those of the chosen tracker that are set, with their values.
    """

    tag: ClassVar[str] = "VideoRectangle"
    kind: ClassVar[str] = "videorectangle"
    revision: ClassVar[int] = 2
    yolo_tasks: ClassVar[tuple[str, ...]] = ("detect", "segment", "pose")

    tracker_parameters: tuple[tuple[str, Parameter], ...] = ()

    model_conf: float | None = attribute(
        None,
        "Boxes below this score are not followed. Lower than `model_score_threshold`, so that an object isn't lost where it "
        "is hard to see; where the tag has no `model_score_threshold`, it is this one's default as well, if it is lower.",
        kind=float,
        low=0,
        high=1,
        default_doc="`track_low_thresh` of the tracker, or the lowest score threshold if that is lower",
    )
    model_tracker: str = attribute(
        DEFAULT_TRACKER,
        "What tells which boxes of different frames are the same object: any tracker that the YOLO library ships. Its "
        "parameters are attributes that start with its name, such as `botsort_track_buffer`.",
    )
    model_keyframe_tolerance: float = attribute(
        0.5,
        "Key frames are left out as long as no edge of a box moves, and no side grows, by more than this, in percent of the "
        "picture. 0 keeps every frame.",
        low=0,
        high=100,
    )
    model_max_gap: int = attribute(
        5, "An object that is missing for more frames is switched off until it is seen again.", low=0, high=100_000
    )

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag; see `Control.from_tag`."""
        made, problems = super().from_tag(tag, shown, config, settings)
        if not isinstance(made, VideoRectangle):
            return made, problems
        name = made.model_tracker.removesuffix(".yaml")
        if name not in trackers():
            problems.append(
                f"{tag}: model_tracker={made.model_tracker!r} is ignored: the installed library has {', '.join(trackers())}; "
                f"what a file of your own would say can be said with attributes such as {DEFAULT_TRACKER}_track_buffer"
            )
            name = DEFAULT_TRACKER
        holder = cls.label_holder(tag, config)
        attributes = {**(holder.attributes if holder else {}), **tag.attributes}
        parameters, unusable = tracker_parameters(attributes, name, owner=str(tag))
        return made.with_fields({"model_tracker": name, "tracker_parameters": parameters}), problems + unusable

    @classmethod
    def label_holder(cls, tag: ControlTag, config: LabelingConfig) -> ControlTag | None:
        """Return the ``<Labels>`` beside the tag, which has none in it."""
        return config.first_control(LABELS_TAG, tag.to_name)

    @classmethod
    def default_threshold(cls, values: Mapping[str, Any], settings: Settings) -> float:
        """Return the least score of an object: no more than what its boxes must have to be followed, if the tag says that."""
        return min(settings.model_score_threshold, values.get("model_conf", 1))

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        return super().fingerprint() | {f"{self.model_tracker}_{key}": value for key, value in self.tracker_parameters}

    @property
    def all_tracker_parameters(self) -> dict[str, Parameter]:
        """Every parameter of the tracker, set or not."""
        return parameters_for(self.model_tracker, dict(self.tracker_parameters), least_score=super().confidence)

    @property
    def confidence(self) -> float:
        """The least score of a box that the tracker can make use of."""
        if self.model_conf is not None:
            return self.model_conf
        return min(super().confidence, float(self.all_tracker_parameters["track_low_thresh"]))

    def observer(self, names: Mapping[int, str], data: Mapping[str, Any]) -> Observer:
        """Return what follows the objects of one video."""
        return _Objects(self, names, data)


def tracker_parameters(
    attributes: Mapping[str, str], tracker: str, *, owner: str
) -> tuple[tuple[tuple[str, Parameter], ...], list[str]]:
    """Read the attributes that start with a tracker's name.

    Returns:
        The parameters of ``tracker`` that are set and usable, and a problem in words for each attribute that isn't.
        ``owner`` names the tag in them.
    """
    values: dict[str, Parameter] = {}
    problems = []
    for attribute_name, text in attributes.items():
        name, _, parameter = attribute_name.partition("_")
        if name not in trackers():
            continue
        known = {key: default for key, default in trackers()[name].items() if key not in APPEARANCE}
        problem = None
        if name != tracker:
            problem = f"model_tracker is {tracker}"
        elif parameter in APPEARANCE:
            problem = "objects are not matched by appearance here, which needs a second model"
        elif parameter not in known:
            problem = f"known are {', '.join(f'{name}_{key}' for key in known)}"
        else:
            try:
                values[parameter] = _parse(parameter, known[parameter], text)
            except ValueError as error:
                problem = str(error)
        if problem is not None:
            problems.append(f"{owner}: {attribute_name}={text!r} is ignored: {problem}")
    return tuple(sorted(values.items())), problems


def _parse(parameter: str, default: Parameter, text: str) -> Parameter:
    """Return a value of the default's type. Raises ValueError with what is expected."""
    if isinstance(default, str):
        if parameter == "gmc_method" and text.strip() not in CAMERA_MOTION:
            raise ValueError(f"{', '.join(CAMERA_MOTION)} is expected")
        return text.strip()
    high = 1 if parameter.endswith(("_thresh", "_thr", "_weight")) else 100_000
    value: Parameter = Attribute(kind=type(default), doc="", low=0, high=high).parse(text)
    return value


@dataclass
class _Track:
    """What is known of one object: scores by class, and where it was, in flat arrays."""

    score_of: dict[int, float] = field(default_factory=dict)
    seen: int = 0
    shown: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("f"))


class _Objects(Observer):
    """Follows the objects of one video."""

    def __init__(self, control: VideoRectangle, names: Mapping[int, str], data: Mapping[str, Any]) -> None:
        self._control = control
        self._classes = control.class_map(names)
        self._editor = control.editor_frames(data)
        self._tracker = Tracker(control.model_tracker, control.all_tracker_parameters)
        self._objects: dict[int, _Track] = {}
        # What may be objects, by what was seen up to the last frame: one that isn't on the next is none.
        self._tentative: dict[int, _Track] = {}

    def see(self, frame: Frame, result: Detections) -> None:
        sure = result.scores >= self._control.confidence
        percent, scores, classes = upright_boxes(result)[sure], result.scores[sure], result.classes[sure]
        boxes = np.column_stack([result.boxes[sure], scores, classes])
        # A picture that the editor steps over is there for the tracker alone.
        shown = self._editor.shown(frame.start, frame.end)
        tentative: dict[int, _Track] = {}
        for number, index, is_confirmed in self._tracker.update(boxes, frame.pixels):
            track = self._objects.get(number) or self._tentative.get(number) or _Track()
            (self._objects if is_confirmed else tentative)[number] = track
            kind, score = int(classes[index]), float(scores[index])
            track.score_of[kind] = track.score_of.get(kind, 0) + score
            track.seen += 1
            if shown:
                track.shown.extend((shown[0], shown[-1]))
                track.boxes.extend(percent[index].tolist())
        self._tentative = tentative

    def regions(self, duration: float) -> Iterator[Region]:
        frames = self._editor.count(duration)
        for number, track in self._objects.items():
            label, threshold = self._label(track)
            score = sum(track.score_of.values()) / track.seen
            if label is None or score < threshold:
                continue
            keys = key_frames(
                np.array(track.shown, int).reshape(-1, 2),
                np.round(np.array(track.boxes, float).reshape(-1, 4), 4),
                frames=frames,
                max_gap=self._control.model_max_gap,
                tolerance=self._control.model_keyframe_tolerance,
            )
            if not keys:
                continue
            sequence = [
                {
                    "frame": key.frame,
                    "time": self._editor.time(key.frame),
                    "enabled": key.enabled,
                    "rotation": 0,
                    **dict(zip(("x", "y", "width", "height"), key.box, strict=True)),
                }
                for key in keys
            ]
            yield {
                "id": self._control.local_id(number),
                "from_name": self._control.name,
                "to_name": self._control.to_name,
                "type": self._control.kind,
                "value": {
                    "framesCount": frames,
                    "duration": round(duration, 6),
                    "labels": [label],
                    "sequence": sequence,
                },
                "score": round(score, 4),
            }

    def _label(self, track: _Track) -> tuple[str | None, float]:
        """Let the frames vote with their scores: the label of an object, and the score it must have.

        A class that no label wants stands for itself: an object that mostly looks like one is not made into another.
        """
        votes: dict[Label | int, float] = {}
        for kind, score in track.score_of.items():
            label = self._classes.labels[kind]
            key = kind if label is None else label
            votes[key] = votes.get(key, 0) + score
        winner = max(votes, key=lambda key: votes[key])
        if isinstance(winner, int):
            return None, math.inf
        return winner.value, float(self._classes.thresholds[self._classes.labels.index(winner)])
