"""Loaded models: each file once per process, detections for any number of pictures."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolo_backend import metrics
from yolo_backend.errors import WeightsError
from yolo_backend.inference.detections import Detections
from yolo_backend.inference.exports import Exports
from yolo_backend.inference.last_used import LastUsed
from yolo_backend.inference.letterbox import Letterbox, middle_square, padded_square, whole_strides
from yolo_backend.inference.library import is_imported, ultralytics
from yolo_backend.inference.networks import Network, load_network
from yolo_backend.inference.outputs import read_output
from yolo_backend.inference.tiles import Tiling, predict_tiled
from yolo_backend.inference.weights import WeightsStore
from yolo_backend.request_id import ThreadPool
from yolo_backend.settings import Settings

logger = logging.getLogger(__name__)

GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
"""In /dev: of NVIDIA's drivers, also on Jetson and in Windows' Linux, and of AMD's."""


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


class ModelStore:
    """The models in memory: loaded once, the least recently used one dropped first. Safe to use from several threads."""

    def __init__(self, settings: Settings, weights: WeightsStore) -> None:
        self._settings = settings
        self._weights = weights
        directory = "onnx" if settings.runtime == "onnx" else "openvino"
        self._exports = Exports(settings.model_dir / directory, directory)
        self._exporter = ThreadPool(1, thread_name_prefix="export")
        self._models: LastUsed[tuple[Path, str], Model] = LastUsed(settings.model_cache_size, self._changed)
        self._prepared = threading.Event()

    @property
    def is_ready(self) -> bool:
        """Whether what takes seconds to import is there."""
        return self._prepared.is_set() or is_imported()

    def prepare(self) -> None:
        """Import what models need to run: PyTorch too, unless there are networks for OpenVINO that do without.

        Without PyTorch the process takes hundreds of megabytes less, and its first prediction comes seconds earlier.

        Raises:
            WeightsError: the YOLO library that is installed can't be used safely.
        """
        cpu = is_surely_cpu(self._settings.device)
        if cpu and self._export_runtime("cpu") == "openvino" and self._exports.has_any():
            importlib.import_module("openvino")  # now rather than at the first prediction
        else:
            ultralytics()
        self._prepared.set()

    def get(self, name: str) -> Model:
        """Return the model of the weights ``name``, loaded if it isn't yet, or if the file has changed.

        Raises:
            WeightsError: there are no such weights, or they can't be loaded.
        """
        key = (self._weights.get(name), self._weights.digest(name))

        def load() -> Model:
            with metrics.model_loads.labels("failed").count_exceptions():
                model = self._load(*key)
                if self._weights.digest(name) != key[1]:
                    raise WeightsError(f"weights {name!r} were replaced while they were loaded; ask again")
            metrics.model_loads.labels("loaded").inc()
            return model

        return self._models.get(key, load)

    def loaded(self) -> list[dict[str, str]]:
        """Return what is in memory: names of files, what they are for, and what runs them where."""
        return [
            {"weights": path.name, "task": model.task, "runtime": model.runtime, "device": model.device}
            for (path, _), model in self._models.items()
        ]

    def _measure(self) -> None:
        models = [model for _, model in self._models.items()]
        metrics.models_in_memory((model.task, model.runtime, model.weights_bytes) for model in models)

    def _changed(self, dropped: Sequence[tuple[Path, str]]) -> None:
        for path, _ in dropped:
            logger.info("Dropped %s from memory", path.name)
        self._measure()

    def settle(self) -> None:
        """Wait until no network for OpenVINO is being made: from then on the models here give the same answers always."""
        self._exporter.submit(lambda: None).result()

    def _export_runtime(self, device: str) -> str | None:
        """Return what PyTorch weights shall run in on a device, if not in PyTorch."""
        wanted = self._settings.runtime
        if wanted == "auto":
            return "openvino" if device == "cpu" and importlib.util.find_spec("openvino") is not None else None
        return None if wanted == "pytorch" else wanted

    def _load(self, path: Path, digest: str) -> Model:
        started = time.monotonic()
        device = choose_device(self._settings.device)
        exported = path.suffix == ".pt" and self._export_runtime(device) is not None
        network: Network | None = self._exported(path, digest) if exported else None
        made = network is not None
        if network is None:
            network = load_network(
                path, device, batch_size=self._settings.batch_size, openvino=self._exports.runtime == "openvino"
            )
        model = Model(network)
        logger.info(
            "Loaded %s: %s, %d classes, %s on %s, %.1f s",
            path.name,
            model.task,
            len(model.names),
            model.runtime,
            model.device,
            time.monotonic() - started,
        )
        if exported and not made:
            self._exporter.submit(self._export, model, path, digest)
        return model

    def _exported(self, path: Path, digest: str) -> Network | None:
        found = self._exports.find(path, digest)
        try:
            return None if found is None else self._exports.load(found)
        except Exception as error:  # of many kinds
            logger.warning("The network in %s can't be used: %s", found, " ".join(str(error).split()))
            return None

    def _export(self, model: Model, path: Path, digest: str) -> None:
        """Make a network for another runtime and let the model go on with it."""
        try:
            with metrics.exports_running.track_inprogress(), metrics.exports.labels("failed").count_exceptions():
                network = self._exports.load(self._exports.make(path, digest))
                # Compiled before somebody waits for it.
                Model(network).warm_up(confidence=0.5, iou=0.7, max_det=1, imgsz=None)
            metrics.exports.labels("made").inc()
            model.swap(network)
            self._measure()
            logger.info("%s goes on in %s", path.name, model.runtime)
        except WeightsError as error:
            logger.warning("%s stays with PyTorch: %s", path.name, error)
        except Exception:
            logger.exception("%s stays with PyTorch", path.name)


def choose_device(wanted: str) -> str:
    """Return the device that ``DEVICE`` means here, such as "cpu" or "cuda:0".

    Raises:
        WeightsError: this machine has no such device.
    """
    if is_surely_cpu(wanted):
        return "cpu"
    ultralytics()
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda:0" if gpus else "mps" if has_mps else "cpu"
    if wanted.startswith("cuda") and int(wanted.partition(":")[2] or 0) < gpus:
        return wanted if ":" in wanted else "cuda:0"
    if wanted == "mps" and has_mps:
        return wanted
    there = [*(f"cuda:{number}" for number in range(gpus)), *(["mps"] if has_mps else []), "cpu"]
    raise WeightsError(f"DEVICE={wanted} is not there: this machine has {', '.join(there)}")


def is_surely_cpu(wanted: str) -> bool:
    """Tell whether ``DEVICE`` means the CPU here, as far as is known without PyTorch, which takes seconds to import."""
    return wanted == "cpu" or (wanted == "auto" and not _may_have_gpu())


def _may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Tell whether PyTorch is to be asked for a GPU. On Linux its driver has device files, which are quick to look for."""
    return sys.platform != "linux" or any(True for name in GPU_FILES for _ in devices.glob(name))


def _input_size(network: Network, imgsz: int | None) -> tuple[int, int]:
    """Return the height and width of the largest input; a network of a fixed size has that, whatever is asked."""
    if imgsz is None or network.stride is None:
        height, width = network.size
    else:
        height = width = imgsz
    if network.stride is None or network.head.task == "classify":
        return height, width
    return whole_strides(height, network.stride), whole_strides(width, network.stride)
