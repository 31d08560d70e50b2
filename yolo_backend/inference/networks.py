"""A loaded model as a function from pictures to numbers: in OpenVINO, or in whatever else the YOLO library can run."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yolo_backend.errors import WeightsError
from yolo_backend.inference.library import available_cores, refusal, ultralytics
from yolo_backend.inference.outputs import Head

logger = logging.getLogger(__name__)

OPENVINO_SUFFIX = "_openvino_model"
"""Ends the name of a directory that holds a network for OpenVINO."""
SHAPES = 8
"""Input shapes for which a network stays compiled."""

_device_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""One network at a time on each device: it has all of it, and two at once are slower than one after the other."""

Outputs = list[np.ndarray]
"""What a network says of one picture, without the dimension of the batch."""


class Network(ABC):
    """One copy of a model in memory. Safe to use from several threads, one at a time inside.

    Attributes:
        head: how to read its outputs.
        size: height and width of the input that it was made for.
        stride: an input must be a multiple of this; None if it must have ``size``.
        runtime: what runs it.
        device: where, such as "cpu" or "cuda:0".
        weights_bytes: the memory that its weights take; 0 where that isn't known.
    """

    head: Head
    size: tuple[int, int]
    stride: int | None
    runtime: str
    device: str
    weights_bytes: int = 0

    @abstractmethod
    def run(self, inputs: Iterable[tuple[int, np.ndarray]], done: Callable[[int, Outputs], None]) -> None:
        """Run the model on pictures of one shape.

        Args:
            inputs: a number of the caller's for each picture, and its pixels, (height, width, 3) uint8, BGR. Taken as
                the model can use them: making them may take its time.
            done: called with the number and the outputs of each, from any thread, in any order.
        """


class LibraryNetwork(Network):
    """A model that the YOLO library runs: PyTorch weights, and its exported formats."""

    def __init__(self, path: Path, device: str, *, batch_size: int) -> None:
        """Load weights onto a device such as "cpu", "cuda:0" or "mps".

        Raises:
            Exception: of many kinds, whatever the library raises.
        """
        library = ultralytics()
        import torch
        from ultralytics.nn.autobackend import AutoBackend

        half = device.startswith("cuda")
        model: Any = path
        task = size = None
        if path.suffix == ".pt":
            yolo = library.YOLO(path)
            model, task, size = yolo.model, yolo.task, yolo.overrides.get("imgsz")
        self._backend = AutoBackend(model, device=torch.device(device), fp16=half, verbose=False, end2end=False)
        self._backend.eval()
        backend: Any = self._backend
        self.head = Head(
            task=task or backend.task or "detect",
            names=dict(backend.names),
            end_to_end=bool(backend.end2end),
            points=tuple(backend.kpt_shape) if hasattr(backend, "kpt_shape") else None,
        )
        if path.suffix != ".pt":
            size = getattr(backend, "imgsz", None)
        self.size = _height_and_width(size)
        self.stride = int(backend.stride) if path.suffix == ".pt" or backend.dynamic else None
        self.runtime = "pytorch" if path.suffix == ".pt" else str(backend.format)
        self.device = device
        self._batch_size = batch_size
        if path.suffix == ".pt":
            self.weights_bytes = sum(one.nbytes for one in model.state_dict().values())

    def run(self, inputs: Iterable[tuple[int, np.ndarray]], done: Callable[[int, Outputs], None]) -> None:
        """Run the model in batches; see `Network.run`."""
        numbers: list[int] = []
        pixels: list[np.ndarray] = []
        for number, one in inputs:
            numbers.append(number)
            pixels.append(one)
            if len(pixels) == self._batch_size:
                self._run(numbers, pixels, done)
                numbers, pixels = [], []
        if pixels:
            self._run(numbers, pixels, done)

    def _run(self, numbers: list[int], pixels: list[np.ndarray], done: Callable[[int, Outputs], None]) -> None:
        import torch

        backend: Any = self._backend
        with _device_locks[self.device], torch.inference_mode():
            batch = torch.from_numpy(np.stack(pixels)).to(backend.device)
            batch = batch.permute(0, 3, 1, 2).flip(1).contiguous()
            raw = backend((batch.half() if backend.fp16 else batch.float()).div_(255))
            if self.head.task == "segment":
                arrays = [raw[0][0], raw[0][1]] if isinstance(raw[0], tuple) else [raw[0], raw[1]]
            else:
                while isinstance(raw, (list, tuple)):
                    raw = raw[0]
                arrays = [raw]
            # A copy: a runtime may use its memory again for the next batch.
            outputs = [array.float().cpu().numpy().copy() for array in arrays]
        for place, number in enumerate(numbers):
            done(number, [output[place] for output in outputs])


class OpenVINONetwork(Network):
    """A model in OpenVINO, on the CPU."""

    runtime = "openvino"
    device = "cpu"

    def __init__(self, directory: Path) -> None:
        """Read a network as the YOLO library exports it: a directory with an ``.xml``, a ``.bin`` and ``metadata.yaml``.

        Raises:
            Exception: of many kinds, if it is damaged.
        """
        import openvino
        from openvino.preprocess import ColorFormat, PrePostProcessor

        metadata = yaml.safe_load((directory / "metadata.yaml").read_text(encoding="utf-8"))
        points = metadata.get("kpt_shape")
        self.head = Head(
            task=metadata["task"],
            names={int(number): str(name) for number, name in metadata["names"].items()},
            end_to_end=bool(metadata.get("end2end")),
            points=tuple(points) if points else None,
        )
        self.size = _height_and_width(metadata.get("imgsz"))
        self._core = openvino.Core()
        # A file that is replaced while it is mapped would change the network, or end the process.
        self._core.set_property({"ENABLE_MMAP": False})
        description = next(directory.glob("*.xml"))
        model = self._core.read_model(description)
        self.weights_bytes = description.with_suffix(".bin").stat().st_size
        self.stride = int(metadata.get("stride", 32)) if model.input().partial_shape.is_dynamic else None
        # The conversion of bytes to the numbers that the model wants is part of the network.
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().tensor().set_color_format(ColorFormat.BGR)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.input().preprocess().convert_color(ColorFormat.RGB).convert_element_type(openvino.Type.f32).scale(255.0)
        self._model = steps.build()
        self._openvino = openvino
        self._compiled: OrderedDict[tuple[tuple[int, ...], bool], Any] = OrderedDict()

    def run(self, inputs: Iterable[tuple[int, np.ndarray]], done: Callable[[int, Outputs], None]) -> None:
        """Run the model on one picture after another, on all cores; see `Network.run`.

        A single picture is worked on by all cores together. Of several, each core has its own, which is faster.
        """
        with _device_locks[self.device]:
            iterator = iter(inputs)
            first, second = next(iterator, None), next(iterator, None)
            if first is None:
                return
            if second is None:
                number, pixels = first
                request = self._requests(pixels.shape, many=False)
                request.infer({0: pixels[None]}, share_inputs=True)
                done(number, _outputs(request))
                return
            queue = self._requests(first[1].shape, many=True)
            failed: list[Exception] = []

            def finished(request: Any, number: int) -> None:
                try:
                    done(number, _outputs(request))
                except Exception as error:  # must not get into the runtime's thread
                    failed.append(error)

            queue.set_callback(finished)
            try:
                for number, pixels in chain((first, second), iterator):
                    queue.start_async({0: pixels[None]}, number)
            finally:
                queue.wait_all()
            if failed:
                raise failed[0]

    def _requests(self, shape: tuple[int, ...], *, many: bool) -> Any:
        """Return what runs pictures of a shape: a request for one, or a queue of them for ``many``."""
        key = (shape, many)
        if key in self._compiled:
            self._compiled.move_to_end(key)
            return self._compiled[key]
        model = self._model.clone()
        model.reshape([1, *shape])
        config = {
            "PERFORMANCE_HINT": "THROUGHPUT" if many else "LATENCY",
            "INFERENCE_NUM_THREADS": available_cores(),
            # Where the processor has shorter numbers OpenVINO would use them, at the cost of other scores.
            "INFERENCE_PRECISION_HINT": self._openvino.Type.f32,
        }
        compiled = self._core.compile_model(model, "CPU", config)
        self._compiled[key] = self._openvino.AsyncInferQueue(compiled) if many else compiled.create_infer_request()
        if len(self._compiled) > 2 * SHAPES:
            self._compiled.popitem(last=False)
        return self._compiled[key]


def load_network(path: Path, device: str, *, batch_size: int) -> Network:
    """Load weights in any format that the YOLO library has.

    Raises:
        WeightsError: they are damaged, or not a YOLO model.
    """
    try:
        if path.name.endswith(OPENVINO_SUFFIX):
            return OpenVINONetwork(path)
        return LibraryNetwork(path, device, batch_size=batch_size)
    except Exception as error:  # the libraries raise many kinds here
        reason = refusal(error) or " ".join(str(error).split())
        raise WeightsError(f"weights {path.name!r} can't be loaded: {reason}") from error


def _outputs(request: Any) -> Outputs:
    # Copies, since the request's own memory is for the next picture.
    return [tensor.data[0].astype(np.float32) for tensor in request.output_tensors]


def _height_and_width(size: Any) -> tuple[int, int]:
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return (int(size), int(size)) if size else (640, 640)
