"""A loaded model: pictures in, detections out, whichever runtime runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from yolo_backend.inference.backends.base import Backend
from yolo_backend.inference.detections import Detections
from yolo_backend.inference.options import PredictOptions
from yolo_backend.inference.postprocess import read_outputs
from yolo_backend.inference.preprocess import Letterbox, middle_square, padded_square, whole_strides
from yolo_backend.inference.tiling import predict_tiled
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import ThreadPool


class Model:
    """One model. Safe to use from several threads.

    Attributes:
        task: of YOLO's: detect, segment, pose, obb or classify.
        names: of its classes, by their numbers.
        keypoint_count: how many an object has, for pose; 0 for other tasks.
    """

    def __init__(self, backend: Backend) -> None:
        self.swap(backend)
        self.task = backend.metadata.task
        self.names: Mapping[int, str] = backend.metadata.names
        shape = backend.metadata.keypoint_shape
        self.keypoint_count = shape[0] if shape else 0

    @property
    def device(self) -> str:
        """Where it runs, such as "cpu" or "cuda:0"."""
        return self._backend.device

    @property
    def runtime(self) -> str:
        """What runs it, such as "openvino"."""
        return self._backend.runtime

    @property
    def weights_bytes(self) -> int:
        """Memory of its weights."""
        return self._backend.weights_bytes

    def swap(self, backend: Backend) -> None:
        """Go on with another backend of the same model; what is under way ends with the old one."""
        self._backend = backend
        self._pool = ThreadPool(backend.max_concurrency, thread_name_prefix="model")

    def predict(
        self, images: Sequence[np.ndarray], options: PredictOptions, *, alone: bool = False
    ) -> list[Detections]:
        """Run the model.

        Args:
            images: each (height, width, 3) uint8, BGR.
            options: what is asked for.
            alone: nothing else is waiting to be predicted.

        Returns:
            The detections of each image, in order, whatever the other images are.

        Raises:
            MediaError: an image would have too many tiles.
        """
        if options.tiling is not None:
            plain = partial(self.predict, options=replace(options, tiling=None))
            return [
                predict_tiled(plain, image, options.tiling, iou=options.iou, max_det=options.max_det)
                for image in images
            ]
        backend, pool = self._backend, self._pool

        def look(image: np.ndarray) -> Detections:
            height, width = image.shape[:2]
            size = _input_size(backend, options.imgsz)
            if self.task == "classify":
                square = middle_square(padded_square(image) if options.whole_image else image, size[0])
                (probabilities,) = backend.infer(square, alone=alone)
                return Detections(names=self.names, width=width, height=height, probabilities=probabilities)
            letterbox = Letterbox.fit(width, height, size, stride=backend.stride)
            return read_outputs(
                backend.infer(letterbox.apply(image), alone=alone),
                backend.metadata,
                letterbox,
                options,
                width=width,
                height=height,
            )

        # Of several, each slot of the device has one at a time, from its pixels to its detections.
        several = len(images) > 1 and backend.max_concurrency > 1
        with metrics.model_seconds.labels(self.task).time():
            found = list(pool.map(look, images) if several else map(look, images))
        metrics.model_images.labels(self.task).inc(len(images))
        return found

    def least_scale(self, width: int, height: int, options: PredictOptions) -> float:
        """Return how far a picture may be scaled down before the model gets to see less of it."""
        if options.tiling is not None:
            return 1
        size = _input_size(self._backend, options.imgsz)
        if self.task == "classify" and not options.whole_image:
            return size[0] / min(width, height)
        return min(size[0] / height, size[1] / width)

    def warm_up(self, options: PredictOptions) -> None:
        """Predict nothing much: the first prediction takes longer than the others."""
        height, width = _input_size(self._backend, options.imgsz)
        blank = np.zeros((height * 3 // 4, width, 3), np.uint8)
        for alone in (False, True):
            self.predict([blank], options, alone=alone)


def _input_size(backend: Backend, imgsz: int | None) -> tuple[int, int]:
    """Return the height and width of the largest input; a backend of a fixed size has that, whatever is asked."""
    if imgsz is None or backend.stride is None:
        height, width = backend.size
    else:
        height = width = imgsz
    if backend.stride is None or backend.metadata.task == "classify":
        return height, width
    return whole_strides(height, backend.stride), whole_strides(width, backend.stride)
