"""Weights in any format, loaded by the runtime that is for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from yolo_backend.errors import WeightsError
from yolo_backend.inference.backends.base import Backend
from yolo_backend.inference.backends.openvino import OpenVINOBackend
from yolo_backend.inference.backends.ultralytics import UltralyticsBackend
from yolo_backend.inference.library import refusal

OPENVINO_SUFFIX = "_openvino_model"
"""Ends the name of a directory that holds a network for OpenVINO."""
NEEDS = {
    ".onnx": ("onnxruntime", "onnxruntime"),
    ".tflite": ("ai_edge_litert", "ai-edge-litert"),
    ".engine": ("tensorrt", "tensorrt"),
}
"""What formats need beyond requirements.txt: the module, and the package that has it."""


def load_backend(path: Path, device: str, *, batch_size: int, openvino: bool = True) -> Backend:
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
            return OpenVINOBackend(path)
        return UltralyticsBackend(path, device, batch_size=batch_size)
    except Exception as error:  # the libraries raise many kinds here
        reason = refusal(error) or " ".join(str(error).split())
        raise WeightsError(f"weights {path.name!r} can't be loaded: {reason}") from error


def _lacking(path: Path, device: str) -> str | None:
    """Say in words what the format of weights needs and isn't there."""
    if path.suffix == ".engine" and not device.startswith("cuda"):
        return "an engine runs on an NVIDIA GPU, and DEVICE is not one; use the PyTorch weights that it was made from"
    module, package = NEEDS.get(path.suffix, (None, ""))
    if module is None or importlib.util.find_spec(module) is not None:
        return None
    return f"they need the Python package {package}, which is not installed: pip install {package}"
