"""A loaded model as a function from one picture to numbers: in OpenVINO, or in whatever else the YOLO library can run."""

from __future__ import annotations

import ast
import importlib.util
import logging
import threading
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yolo_backend.errors import WeightsError
from yolo_backend.inference.last_used import LastUsed
from yolo_backend.inference.library import available_cores, refusal, ultralytics
from yolo_backend.inference.outputs import Head

logger = logging.getLogger(__name__)

OPENVINO_SUFFIX = "_openvino_model"
"""Ends the name of a directory that holds a network for OpenVINO."""
NEEDS = {
    ".onnx": ("onnxruntime", "onnxruntime"),
    ".tflite": ("ai_edge_litert", "ai-edge-litert"),
    ".engine": ("tensorrt", "tensorrt"),
}
"""What formats need beyond requirements.txt: the module, and the package that has it."""
SHAPES = 8
"""Input shapes for which a network stays compiled; each takes up to 60 MB with a YOLO of the n scale."""

Outputs = list[np.ndarray]
"""What a network says of one picture, without the dimension of the batch."""

_cores = threading.BoundedSemaphore(available_cores())
"""OpenVINO works on as many pictures at once as there are cores, each on one core, whichever networks they are for."""
_first_use = threading.Lock()
_device_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""PyTorch has one batch at a time on each device: it takes all of it, and two at once are slower than one by one."""


class Network(ABC):
    """One copy of a model in memory. Safe to use from several threads.

    Attributes:
        head: how to read its outputs.
        size: height and width of the input that it was made for.
        stride: an input must be a multiple of this; None if it must have ``size``.
        runtime: what runs it.
        device: where, such as "cpu" or "cuda:0".
        weights_bytes: the memory that its weights take; 0 where that isn't known.
        places: calls of `infer` at once that keep the device busy.
    """

    head: Head
    size: tuple[int, int]
    stride: int | None
    runtime: str
    device: str
    places: int
    weights_bytes: int = 0

    @abstractmethod
    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on one picture, and wait for it.

        Args:
            pixels: (height, width, 3) uint8, BGR.
            alone: nothing else is waiting to be predicted, so that it may have all of the device.
        """


class LibraryNetwork(Network):
    """A model that the YOLO library runs: PyTorch weights, and its exported formats.

    Who asks while the device is busy waits, and goes through it together with all others who wait.
    """

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
        if path.suffix == ".pt":
            self.weights_bytes = sum(one.nbytes for one in model.state_dict().values())
        # PyTorch has a CPU's cores work on one picture together.
        self.places = 1 if device == "cpu" else batch_size
        # What is exported for one size is for one picture as well.
        self._batch_size = batch_size if self.stride is not None else 1
        self._waiting: defaultdict[tuple[int, ...], deque[tuple[np.ndarray, Future[Outputs]]]] = defaultdict(deque)

    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on a picture, in a batch with those that wait at the same time; see `Network.infer`."""
        mine: Future[Outputs] = Future()
        waiting = self._waiting[pixels.shape]
        waiting.append((pixels, mine))
        while not mine.done():
            with _device_locks[self.device]:
                # Somebody else may have taken this picture along.
                batch = (
                    [waiting.popleft() for _ in range(min(len(waiting), self._batch_size))] if not mine.done() else []
                )
                self._run(batch)
        return mine.result()

    def _run(self, batch: Sequence[tuple[np.ndarray, Future[Outputs]]]) -> None:
        """Run a batch. One that fails is tried again in halves, so that only what can't be predicted fails."""
        if not batch:
            return
        try:
            outputs = self._outputs([pixels for pixels, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            logger.warning("A batch of %d failed and is tried again in halves: %s", len(batch), error)
            middle = len(batch) // 2
            self._run(batch[:middle])
            self._run(batch[middle:])
        else:
            for (_, future), output in zip(batch, outputs, strict=True):
                future.set_result(output)

    def _outputs(self, pictures: Sequence[np.ndarray]) -> list[Outputs]:
        import torch

        backend: Any = self._backend
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(pictures)).to(backend.device)
            batch = batch.permute(0, 3, 1, 2).flip(1).contiguous()
            raw = backend((batch.half() if backend.fp16 else batch.float()).div_(255))
            if self.head.task == "segment":
                tensors = [raw[0][0], raw[0][1]] if isinstance(raw[0], tuple) else [raw[0], raw[1]]
            else:
                while isinstance(raw, (list, tuple)):
                    raw = raw[0]
                tensors = [raw]
            # A copy: a runtime may use its memory again for the next batch.
            arrays = [tensor.float().cpu().numpy().copy() for tensor in tensors]
        return [[array[place] for array in arrays] for place in range(len(pictures))]


class OpenVINONetwork(Network):
    """A model in OpenVINO, on the CPU."""

    runtime = "openvino"
    device = "cpu"

    def __init__(self, path: Path) -> None:
        """Read a network as the YOLO library exports it.

        Args:
            path: a directory with an ``.xml``, a ``.bin`` and ``metadata.yaml``, or an ONNX file.

        Raises:
            Exception: of many kinds, if it is damaged.
        """
        import openvino
        from openvino.preprocess import ColorFormat, PrePostProcessor

        _learn_array_types(openvino)
        self._core = openvino.Core()
        # A file that is replaced while it is mapped would change the network, or end the process.
        self._core.set_property({"ENABLE_MMAP": False})
        if path.suffix == ".onnx":
            model = self._core.read_model(path)
            metadata = _onnx_metadata(model)
            self.weights_bytes = path.stat().st_size
        else:
            metadata = yaml.safe_load((path / "metadata.yaml").read_text(encoding="utf-8"))
            description = next(path.glob("*.xml"))
            model = self._core.read_model(description)
            self.weights_bytes = description.with_suffix(".bin").stat().st_size
        points = metadata.get("kpt_shape")
        self.head = Head(
            task=metadata["task"],
            names={int(number): str(name) for number, name in metadata["names"].items()},
            end_to_end=bool(metadata.get("end2end")),
            points=tuple(points) if points else None,
        )
        self.size = _height_and_width(metadata.get("imgsz"))
        self.stride = int(metadata.get("stride", 32)) if model.input().partial_shape.is_dynamic else None
        # The conversion of bytes to the numbers that the model wants is part of the network.
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().tensor().set_color_format(ColorFormat.BGR)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.input().preprocess().convert_color(ColorFormat.RGB).convert_element_type(openvino.Type.f32).scale(255.0)
        self._model = steps.build()
        self._openvino = openvino
        self.places = available_cores()
        self._compiled: LastUsed[tuple[tuple[int, ...], bool], _Compiled] = LastUsed(2 * SHAPES)

    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on a picture: on one core, which is fastest for many, or ``alone`` on all; see `Network.infer`."""
        compiled = self._compiled.get((pixels.shape, alone), lambda: self._compile(pixels.shape, alone=alone))
        with _cores:
            return compiled.infer(pixels)

    def _compile(self, shape: tuple[int, ...], *, alone: bool) -> _Compiled:
        model = self._model.clone()
        model.reshape([1, *shape])
        config = {
            "NUM_STREAMS": 1 if alone else available_cores(),
            "INFERENCE_NUM_THREADS": available_cores(),
            # Two networks at once would share one core and leave the other alone.
            "ENABLE_CPU_PINNING": False,
            # Where the processor has shorter numbers OpenVINO would use them, at the cost of other scores.
            "INFERENCE_PRECISION_HINT": self._openvino.Type.f32,
        }
        return _Compiled(self._core.compile_model(model, "CPU", config))


class _Compiled:
    """A network for inputs of one shape, with the requests that run it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: deque[Any] = deque()

    def infer(self, pixels: np.ndarray) -> Outputs:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            request.infer({0: pixels[None]}, share_inputs=True)
            # Copies, since the request's own memory is for the next picture.
            return [tensor.data[0].astype(np.float32) for tensor in request.output_tensors]
        finally:
            self._idle.append(request)


def load_network(path: Path, device: str, *, batch_size: int, openvino: bool = True) -> Network:
    """Load weights in any format that the YOLO library has.

    Args:
        path: of the weights.
        device: such as "cpu", "cuda:0" or "mps".
        batch_size: pictures that go through PyTorch together, at most.
        openvino: run an ONNX file in OpenVINO on a CPU, which is faster and needs no other package.

    Raises:
        WeightsError: they are damaged, not a YOLO model, or need what isn't there.
    """
    in_openvino = path.name.endswith(OPENVINO_SUFFIX) or (path.suffix == ".onnx" and device == "cpu" and openvino)
    if not in_openvino and (lacking := _lacking(path, device)):
        raise WeightsError(f"weights {path.name!r} can't be used here: {lacking}")
    try:
        if in_openvino:
            return OpenVINONetwork(path)
        return LibraryNetwork(path, device, batch_size=batch_size)
    except Exception as error:  # the libraries raise many kinds here
        reason = refusal(error) or " ".join(str(error).split())
        raise WeightsError(f"weights {path.name!r} can't be loaded: {reason}") from error


def _learn_array_types(openvino: Any) -> None:
    """Let OpenVINO make its tables of NumPy's types, which it does when it first sees an array.

    Two threads that did this at the same moment would wait for each other for ever, one for the interpreter and one for
    the table.
    """
    with _first_use:
        tensor = openvino.Tensor(np.zeros(1, np.uint8), shared_memory=True)
        tensor.get_element_type().to_dtype()
        _ = tensor.data[0]


def _onnx_metadata(model: Any) -> dict[str, Any]:
    """Return what the YOLO library wrote into an ONNX file, which OpenVINO has read: text, as Python writes values."""
    metadata = {}
    for key in ("task", "names", "kpt_shape", "end2end", "imgsz", "stride"):
        if model.has_rt_info(["framework", key]):
            text = str(model.get_rt_info(["framework", key]).value)
            metadata[key] = text if key == "task" else ast.literal_eval(text)
    if "task" not in metadata or "names" not in metadata:
        raise ValueError("the ONNX file doesn't say what it is for: export it with the YOLO library")
    return metadata


def _lacking(path: Path, device: str) -> str | None:
    """Say in words what the format of weights needs and isn't there."""
    if path.suffix == ".engine" and not device.startswith("cuda"):
        return "an engine runs on an NVIDIA GPU, and DEVICE is not one; use the PyTorch weights that it was made from"
    module, package = NEEDS.get(path.suffix, (None, ""))
    if module is None or importlib.util.find_spec(module) is not None:
        return None
    return f"they need the Python package {package}, which is not installed: pip install {package}"


def _height_and_width(size: Any) -> tuple[int, int]:
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return (int(size), int(size)) if size else (640, 640)
