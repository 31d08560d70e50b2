"""What watches one video for a control."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from yolo_backend.media.video import Frame

if TYPE_CHECKING:
    from yolo_backend.inference import Detections


class Observer(ABC):
    """Is shown the frames of one video in order, and makes regions of what it saw. Keeps no pixels."""

    def wants(self, frame: Frame) -> bool:
        """Tell whether the model shall look at this frame for this observer."""
        return True

    @abstractmethod
    def see(self, frame: Frame, result: Detections) -> None:
        """Take in what the model found on the next frame that was wanted."""

    @abstractmethod
    def regions(self, duration: float) -> Iterator[dict[str, Any]]:
        """Yield the regions, after the last frame of a video of ``duration`` seconds."""
