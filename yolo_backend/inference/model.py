"""A loaded model: pictures in, detections out, whichever runtime runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from yolo_backend.inference.backends.base import Network
from yolo_backend.inference.detections import Detections
from yolo_backend.inference.postprocess import read_output
from yolo_backend.inference.preprocess import Letterbox, middle_square, padded_square, whole_strides
from yolo_backend.inference.tiling import Tiling, predict_tiled
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import ThreadPool


class Model:
    """One model. Safe to use from several threads.

    Attributes:
        task: of YOLO's: detect, segment, pose, obb or classify.
        names: of its classes, by their numbers.
        points: how many an object has, for pose; 0 for other tasks.
    """

    def __init__(self, network: Network) -> None:
        self.swap(network)
        self.task = network.head.task
        self.names: Mapping[int, str] = network.head.names
        self.points = network.head.points[0] if network.head.points else 0

    @property
    def device(self) -> str:
        """Where it runs, such as "cpu" or "cuda:0"."""
        return self._network.device

    @property
    def runtime(self) -> str:
        """What runs it, such as "openvino"."""
        return self._network.runtime

    @property
    def weights_bytes(self) -> int:
        """Memory of its weights."""
        return self._network.weights_bytes

    def swap(self, network: Network) -> None:
        """Go on with another network of the same model; what is under way ends with the old one."""
        self._network = network
        self._pool = ThreadPool(network.places, thread_name_prefix="model")

    def predict(
        self,
        images: Sequence[np.ndarray],
        *,
        confidence: float,
        iou: float,
        max_det: int,
        imgsz: int | None,
        whole_image: bool = False,
        tiling: Tiling | None = None,
        alone: bool = False,
    ) -> list[Detections]:
        """Run the model.

        Args:
            images: each (height, width, 3) uint8, BGR.
            confidence: the least score of a detection, from 0 to 1.
            iou: boxes that overlap by more are one object.
            max_det: most detections per image.
            imgsz: pixels of the longer side for the model; None: what it was made for.
            whole_image: for classification, show it the image padded to a square; otherwise the square in the middle.
            tiling: show it the tiles of each image too; not for classification.
            alone: nothing else is waiting to be predicted.

        Returns:
            The detections of each image, in order, whatever the other images are.

        Raises:
            MediaError: an image would have too many tiles.
        """
        if tiling is not None:
            plain = partial(self.predict, confidence=confidence, iou=iou, max_det=max_det, imgsz=imgsz)
            return [predict_tiled(plain, image, tiling, iou=iou, max_det=max_det) for image in images]
        network, pool = self._network, self._pool

        def look(image: np.ndarray) -> Detections:
            height, width = image.shape[:2]
            size = _input_size(network, imgsz)
            if self.task == "classify":
                square = middle_square(padded_square(image) if whole_image else image, size[0])
                (probabilities,) = network.infer(square, alone=alone)
                return Detections(names=self.names, width=width, height=height, probabilities=probabilities)
            letterbox = Letterbox.fit(width, height, size, stride=network.stride)
            return read_output(
                network.infer(letterbox.apply(image), alone=alone),
                network.head,
                letterbox,
                width=width,
                height=height,
                confidence=confidence,
                iou=iou,
                max_det=max_det,
            )

        # Of several, each place of the device has one at a time, from its pixels to its detections.
        several = len(images) > 1 and network.places > 1
        with metrics.model_seconds.labels(self.task).time():
            found = list(pool.map(look, images) if several else map(look, images))
        metrics.model_images.labels(self.task).inc(len(images))
        return found

    def least_scale(
        self, width: int, height: int, *, imgsz: int | None, whole_image: bool = False, tiling: Tiling | None = None
    ) -> float:
        """Return how far a picture may be scaled down before the model gets to see less of it."""
        if tiling is not None:
            return 1
        size = _input_size(self._network, imgsz)
        if self.task == "classify" and not whole_image:
            return size[0] / min(width, height)
        return min(size[0] / height, size[1] / width)

    def warm_up(self, **options: Any) -> None:
        """Predict nothing much: the first prediction takes longer than the others."""
        height, width = _input_size(self._network, options.get("imgsz"))
        blank = np.zeros((height * 3 // 4, width, 3), np.uint8)
        for alone in (False, True):
            self.predict([blank], **options, alone=alone)


def _input_size(network: Network, imgsz: int | None) -> tuple[int, int]:
    """Return the height and width of the largest input; a network of a fixed size has that, whatever is asked."""
    if imgsz is None or network.stride is None:
        height, width = network.size
    else:
        height = width = imgsz
    if network.stride is None or network.head.task == "classify":
        return height, width
    return whole_strides(height, network.stride), whole_strides(width, network.stride)
