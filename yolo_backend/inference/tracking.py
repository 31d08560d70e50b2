"""The library's trackers, one for each video: which there are, what they can be told, and boxes to objects.

The library's own ``model.track`` keeps its tracker on the model, where videos that are predicted at the same time would
share it. Here the model is batched and knows no tracker; the tracker is fed its results in order.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import yaml

from yolo_backend.inference.library import ultralytics

Parameter = bool | int | float | str

APPEARANCE = frozenset({"with_reid", "model"})
"""Parameters of matching by appearance, which would need a second model: it's off."""

CAMERA_MOTION = ("sparseOptFlow", "orb", "sift", "ecc", "none")
"""Values of ``gmc_method``: how the camera's own motion is found, so that it isn't taken for the objects'."""


@lru_cache(maxsize=1)
def trackers() -> Mapping[str, Mapping[str, Parameter]]:
    """Return the parameters of each tracker that the installed library ships, with their defaults, by its name.

    Read without importing the library, which takes seconds.
    """
    package = importlib.util.find_spec("ultralytics")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("ultralytics is not installed")
    found = {}
    for path in sorted((Path(package.origin).parent / "cfg" / "trackers").glob("*.yaml")):
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
        parameters.pop("tracker_type")
        found[path.stem] = MappingProxyType(parameters)
    return MappingProxyType(found)


def parameters_for(name: str, given: Mapping[str, Parameter], *, least_score: float) -> dict[str, Parameter]:
    """Return all parameters of a tracker.

    Args:
        name: of the tracker.
        given: what was asked for; the rest are the library's defaults.
        least_score: objects of this score shall be found: a default threshold above it is brought down to it.
    """
    parameters = dict(trackers()[name])
    for threshold in ("track_high_thresh", "new_track_thresh", "track_low_thresh"):
        parameters[threshold] = min(float(parameters[threshold]), least_score)
    return {**parameters, **given, "with_reid": False} if "with_reid" in parameters else {**parameters, **given}


class Sighting(NamedTuple):
    """An object on a frame."""

    number: int
    """Of the object, from 1."""
    box: int
    """Index of its box among those that the model found."""
    is_confirmed: bool
    """Whether the tracker takes it for an object by now. One that it doesn't may be one on the next frame, or is gone."""


class Tracker:
    """Follows the objects of one video. Not to be shared between videos."""

    def __init__(self, name: str, parameters: Mapping[str, Parameter]) -> None:
        """Start with no objects; ``parameters`` are from `parameters_for`."""
        ultralytics()
        from ultralytics.trackers.track import TRACKER_MAP
        from ultralytics.utils import IterableSimpleNamespace

        # A plain background says nothing of the camera's motion, which the library would log for every frame.
        logging.getLogger("ultralytics").addFilter(_not_of_camera_motion)
        self._tracker: Any = TRACKER_MAP[name](args=IterableSimpleNamespace(tracker_type=name, **parameters))

    def update(self, boxes: np.ndarray, pixels: np.ndarray) -> list[Sighting]:
        """Follow the objects to the next frame.

        Args:
            boxes: (n, 6) what the model found on it: left, top, right, bottom in pixels, score, class.
            pixels: (H, W, 3) uint8, BGR; the camera's motion is found from them.
        """
        from ultralytics.engine.results import Boxes

        self._tracker.update(Boxes(boxes.astype(np.float32), pixels.shape[:2]), pixels)
        # Its answer leaves out objects that it isn't sure of yet, and with them the frames on which they came into view.
        return [
            Sighting(track.track_id, int(track.idx), track.is_activated)
            for track in self._tracker.tracked_stracks
            if track.frame_id == self._tracker.frame_id and 0 <= track.idx < len(boxes)
        ]


def _not_of_camera_motion(record: logging.LogRecord) -> bool:
    return record.module != "gmc"
