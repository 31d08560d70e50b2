"""What the control tags on a video have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from yolo_backend.controls.base import Control
from yolo_backend.controls.observer import Observer
from yolo_backend.label_studio.labeling_config import ControlTag, LabelingConfig, ObjectTag
from yolo_backend.label_studio.timeline import EditorFrames, frame_rate

if TYPE_CHECKING:
    from yolo_backend.settings import Settings


@dataclass(frozen=True, kw_only=True)
class VideoControl(Control):
    """A control tag on a ``<Video>``: an observer sees the whole video, then it knows the regions.

    Attributes:
        frame_rate: of the ``<Video>`` tag, as it's written there.
    """

    object_tag: ClassVar[str] = "Video"

    frame_rate: str | None = None

    @classmethod
    def from_tag(
        cls, tag: ControlTag, shown: ObjectTag, config: LabelingConfig, settings: Settings
    ) -> tuple[Control | None, list[str]]:
        """Make the control of a tag; see `Control.from_tag`."""
        control, problems = super().from_tag(tag, shown, config, settings)
        if control is not None:
            control = control.with_fields({"frame_rate": shown.attributes.get("framerate")})
        return control, problems

    def fingerprint(self) -> dict[str, Any]:
        """See `Control.fingerprint`."""
        return super().fingerprint() | ({"frameRate": self.frame_rate} if self.frame_rate is not None else {})

    @abstractmethod
    def observer(self, names: Mapping[int, str], data: Mapping[str, Any]) -> Observer:
        """Return what watches one video for this control.

        Args:
            names: the class names of the model that will look at the frames.
            data: of the task, where the frame rate may be.
        """

    def editor_frames(self, data: Mapping[str, Any]) -> EditorFrames:
        """Return how the editor numbers the frames of a task's video."""
        return EditorFrames(frame_rate(self.frame_rate, data))
