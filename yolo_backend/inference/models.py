"""Loaded models: each file once per process, predictions for a batch of pictures."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_backend.errors import WeightsError
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.weights import WeightsStore
from yolo_backend.settings import Settings

if TYPE_CHECKING:
    from ultralytics.engine.results import Results

logger = logging.getLogger(__name__)

PADDING = 114
_device_lock = threading.Lock()
"""One forward pass at a time: each uses all cores, and two at once are slower than one after the other."""


class Model:
    """One loaded model. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Load weights.

        Raises:
            WeightsError: the file is damaged, or holds something other than a YOLO model.
        """
        library = ultralytics()
        started = time.monotonic()
        try:
            self._yolo = library.YOLO(path)
            self.task: str = self._yolo.task
            self.names: Mapping[int, str] = dict(self._yolo.names)
        except Exception as error:  # the library raises many kinds here
            reason = " ".join(str(error).split())
            raise WeightsError(f"weights {path.name!r} can't be loaded: {reason}") from error
        logger.info(
            "Loaded %s: %s, %d classes, %.1f s", path.name, self.task, len(self.names), time.monotonic() - started
        )

    @property
    def device(self) -> str:
        """Where it runs, such as "cpu" or "cuda:0"."""
        return str(self._yolo.device)

    def predict(
        self,
        images: Sequence[np.ndarray],
        *,
        confidence: float,
        iou: float,
        max_det: int,
        imgsz: int | None,
        whole_image: bool = False,
    ) -> list[Results]:
        """Run the model.

        Args:
            images: each (height, width, 3) uint8, BGR.
            confidence: the least score of a detection, from 0 to 1.
            iou: boxes that overlap by more are one object.
            max_det: most detections per image.
            imgsz: pixels of the longer side for the model; None: what it was trained with.
            whole_image: for classification, pad images to squares; the library cuts the square in the middle out of them.

        Returns:
            One result per image, in order, whatever the other images are.
        """
        options = {"conf": confidence, "iou": iou, "max_det": max_det, "verbose": False}
        if imgsz is not None:
            options["imgsz"] = imgsz
        if self.task == "segment":
            # Masks of the image's own size: those of the model's are padded, and too coarse for an outline.
            options["retina_masks"] = True
        if whole_image:
            images = [_padded(image) for image in images]
        results: list[Results] = [None] * len(images)
        # The library pads images of different shapes to a square, so that a result would depend on its neighbours.
        for indices in _same_shape(images):
            with _device_lock:
                found = self._yolo.predict([images[i] for i in indices], **options)
            for index, result in zip(indices, found, strict=True):
                results[index] = result
        return results

    def warm_up(self, **options: Any) -> None:
        """Predict nothing much: the first prediction takes longer than the others."""
        self.predict([np.zeros((64, 64, 3), np.uint8)], **options)


class ModelStore:
    """The models in memory: loaded once, the least recently used one dropped first. Safe to use from several threads."""

    def __init__(self, settings: Settings, weights: WeightsStore) -> None:
        self._weights = weights
        self._size = settings.model_cache_size
        self._models: OrderedDict[tuple[Path, str], Model] = OrderedDict()
        self._locks: dict[tuple[Path, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Model:
        """Return the model of the weights ``name``, loaded if it isn't yet, or if the file has changed.

        Raises:
            WeightsError: there are no such weights, or they can't be loaded.
        """
        key = (self._weights.get(name), self._weights.digest(name))
        with self._lock:
            loading = self._locks.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._models:
                    self._models.move_to_end(key)
                    return self._models[key]
            model = Model(key[0])
            with self._lock:
                self._models[key] = model
                while len(self._models) > self._size:
                    dropped, _ = self._models.popitem(last=False)
                    self._locks.pop(dropped, None)
                    logger.info("Dropped %s from memory", dropped[0].name)
            return model

    def loaded(self) -> list[dict[str, str]]:
        """Return what is in memory: names of files, what they are for, and where they run."""
        with self._lock:
            return [
                {"weights": path.name, "task": model.task, "device": model.device}
                for (path, _), model in self._models.items()
            ]


def _padded(image: np.ndarray) -> np.ndarray:
    """Return the image in the middle of a square of the grey that the library pads with."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), PADDING, np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def _same_shape(images: Sequence[np.ndarray]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    return list(groups.values())
