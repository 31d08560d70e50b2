"""Networks of the bundled weights, made once for all tests."""

from __future__ import annotations

import warnings
from pathlib import Path

from yolo_backend.inference.exports import Exports, export
from yolo_backend.inference.library import available_cores
from yolo_backend.inference.weights import sha256


class Networks:
    """Networks in a directory laid out as MODEL_DIR is.

    They are made in this process, in a second each: one of their own, as the service has for it, imports PyTorch first.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def make(self, weights: Path, runtime: str = "openvino") -> Path:
        """Return the network's directory; ``runtime`` is "openvino" or "onnx"."""
        exports, digest = Exports(self._directory / runtime, runtime), sha256(weights)
        path = exports.path(weights, digest)
        if exports.find(weights, digest) is None:
            exports.directory.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                export(weights, digest, path, runtime)
            import torch

            torch.set_num_threads(available_cores())  # the exporter leaves one
        return path

    def give(self, model_dir: Path, *weights: Path, runtime: str = "openvino") -> None:
        """Let a service with this MODEL_DIR find networks of these weights: where it needs no others, it needs no PyTorch."""
        for file in weights:
            self.make(file, runtime)
        model_dir.mkdir(parents=True, exist_ok=True)
        (model_dir / runtime).symlink_to(self._directory / runtime)
