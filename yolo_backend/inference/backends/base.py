"""A loaded model as a function from one picture to numbers: in OpenVINO, or in whatever else the YOLO library can run."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from yolo_backend.inference.postprocess import ModelMetadata

logger = logging.getLogger(__name__)
Outputs = list[np.ndarray]
"""What a network says of one picture, without the dimension of the batch."""


class Backend(ABC):
    """One copy of a model in memory. Safe to use from several threads.

    Attributes:
        head: how to read its outputs.
        size: height and width of the input that it was made for.
        stride: an input must be a multiple of this; None if it must have ``size``.
        runtime: what runs it.
        device: where, such as "cpu" or "cuda:0".
        weights_bytes: the memory that its weights take; 0 where that isn't known.
        max_concurrency: calls of `infer` at once that keep the device busy.
    """

    metadata: ModelMetadata
    size: tuple[int, int]
    stride: int | None
    runtime: str
    device: str
    max_concurrency: int
    weights_bytes: int = 0

    @abstractmethod
    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on one picture, and wait for it.

        Args:
            pixels: (height, width, 3) uint8, BGR.
            alone: nothing else is waiting to be predicted, so that it may have all of the device.
        """


def _height_and_width(size: Any) -> tuple[int, int]:
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return (int(size), int(size)) if size else (640, 640)
