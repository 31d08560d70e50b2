"""Models in OpenVINO, on the CPU."""

from __future__ import annotations

import ast
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yolo_backend.inference.backends.base import Backend, Outputs, _height_and_width
from yolo_backend.inference.library import available_cores, import_openvino
from yolo_backend.inference.postprocess import ModelMetadata
from yolo_backend.inference.single_flight import SingleFlightLRU

SHAPES = 8
"""Input shapes for which a network stays compiled; each takes up to 60 MB with a YOLO of the n scale."""
_cores = threading.BoundedSemaphore(available_cores())
"""OpenVINO works on as many pictures at once as there are cores, each on one core, whichever networks they are for."""
_first_use = threading.Lock()


class OpenVINOBackend(Backend):
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
        openvino = import_openvino()
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
        self.metadata = ModelMetadata(
            task=metadata["task"],
            names={int(number): str(name) for number, name in metadata["names"].items()},
            end_to_end=bool(metadata.get("end2end")),
            keypoint_shape=tuple(points) if points else None,
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
        self.max_concurrency = available_cores()
        self._compiled: SingleFlightLRU[tuple[tuple[int, ...], bool], _Compiled] = SingleFlightLRU(2 * SHAPES)

    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on a picture: on one core, which is fastest for many, or ``alone`` on all; see `Backend.infer`."""
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
