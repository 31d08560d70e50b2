"""The service with a slower model and with faults that no picture provokes; gunicorn takes it in place of `_wsgi:app`.

- The model takes ``FAULTS_SECONDS`` longer for each picture.
- It fails on every batch that holds a picture ``UNBEARABLE`` pixels wide.
- What it finds on a picture ``UNDRAWABLE`` pixels wide can't be made regions.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from _wsgi import app
from yolo_backend.controls.rectangle_labels import RectangleLabels
from yolo_backend.inference import Detections, Model
from yolo_backend.inference.options import PredictOptions
from yolo_backend.media import Picture
from yolo_backend.tasks import Region

__all__ = ["UNBEARABLE", "UNDRAWABLE", "app"]

UNBEARABLE = 61
UNDRAWABLE = 62

_seconds = float(os.environ.get("FAULTS_SECONDS", 0))
_device = threading.Lock()
_predict = Model.predict
_regions = RectangleLabels.regions


def _faulty_predict(
    self: Model, images: Sequence[np.ndarray], options: PredictOptions, **more: Any
) -> list[Detections]:
    if any(image.shape[1] == UNBEARABLE for image in images):
        raise RuntimeError("out of memory")
    with _device:
        time.sleep(_seconds * len(images))
    return _predict(self, images, options, **more)


def _faulty_regions(self: RectangleLabels, result: Detections, picture: Picture) -> Iterator[Region]:
    if picture.width == UNDRAWABLE:
        raise ValueError("no such shape")
    return _regions(self, result, picture)


patch.object(Model, "predict", _faulty_predict).start()
patch.object(RectangleLabels, "regions", _faulty_regions).start()
