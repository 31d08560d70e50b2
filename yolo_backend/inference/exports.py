"""Networks for OpenVINO or ONNX Runtime, made from PyTorch weights once and kept on disk.

``python -m yolo_backend.inference.exports WEIGHTS SHA256 DIRECTORY`` makes one; the service runs that as a process of its
own, which doesn't slow down its answers and leaves no memory behind.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from yolo_backend.errors import WeightsError
from yolo_backend.inference.backends.base import Backend
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.inference.backends.openvino import OpenVINOBackend
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.staging import staging_directory
from yolo_backend.inference.weights import sha256
from yolo_backend.private_files import close_to_others, make_directory, make_file
from yolo_backend.settings import WORKING_DIR

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
ONNX_FILE = "model.onnx"
TIMEOUT = 1800  # seconds; the largest YOLO takes under a minute


class Exports:
    """The networks under one directory, by the content of the weights and the versions of the libraries.

    Args:
        directory: where they are kept.
        runtime: what they are for: "openvino" or "onnx".
    """

    def __init__(self, directory: Path, runtime: str = "openvino") -> None:
        self.directory = directory
        self.runtime = runtime

    def path(self, weights: Path, digest: str) -> Path:
        """Return where the network of weights with this content is, or will be."""
        return self.directory / f"{weights.stem}-{digest[:16]}-{self._made_by()}_{self.runtime}_model"

    def has_any(self) -> bool:
        """Tell whether there are networks that these versions of the libraries made."""
        return any(self.directory.glob(f"*-{self._made_by()}_{self.runtime}_model/{MANIFEST}"))

    def _lacking(self) -> list[str]:
        needed = ("onnx", "onnxruntime") if self.runtime == "onnx" else ("openvino",)
        return [package for package in needed if importlib.util.find_spec(package) is None]

    def _made_by(self) -> str:
        return f"{version('ultralytics-opencv-headless')}-{version(self.runtime)}"

    def load(self, directory: Path) -> Backend:
        """Return the network in a directory that `find` or `make` returned.

        Raises:
            Exception: of many kinds.
        """
        if self.runtime == "openvino":
            return OpenVINOBackend(directory)
        return load_backend(directory / ONNX_FILE, "cpu", batch_size=1, openvino=False)

    def find(self, weights: Path, digest: str) -> Path | None:
        """Return the network's directory if it is there and undamaged."""
        if self._lacking():
            return None
        path = self.path(weights, digest)
        return path if _is_whole(path) else None

    def make(self, weights: Path, digest: str) -> Path:
        """Make a network, unless it is there; of several processes one does, and the others wait for it.

        Raises:
            WeightsError: it can't be made, or not be kept.
        """
        if lacking := self._lacking():
            raise WeightsError(
                f"RUNTIME={self.runtime} needs what is not installed: pip install {' '.join(lacking)}, or set RUNTIME=auto"
            )
        path = self.path(weights, digest)
        try:
            make_directory(self.directory)
            lock = self.directory / f".{path.name}.lock"
            make_file(lock)
            with FileLock(lock, mode=0o600):
                if not _is_whole(path):
                    _run_export(weights, digest, path, self.runtime)
        except (OSError, subprocess.SubprocessError) as error:
            raise WeightsError(f"no network for {self.runtime} could be made of {weights.name}: {error}") from None
        return path


def export(weights: Path, digest: str, directory: Path, runtime: str) -> None:
    """Make a network of PyTorch weights with this content; the directory is complete as soon as it is there."""
    with staging_directory(directory.parent) as making:
        copy = Path(shutil.copyfile(weights, making / "model.pt"))
        if sha256(copy) != digest:
            sys.exit("the weights were replaced")
        yolo = ultralytics().YOLO(copy)
        size = yolo.overrides.get("imgsz", 640)
        # Simplifying ONNX needs another package, and the runtime does it anyway when it loads the file.
        options = {"simplify": False} if runtime == "onnx" else {}
        made = Path(yolo.export(format=runtime, dynamic=True, imgsz=size, device="cpu", verbose=False, **options))
        if made.is_file():
            file, made = made, made.with_suffix("")
            made.mkdir()
            file.rename(made / ONNX_FILE)
        manifest = {file.name: sha256(file) for file in sorted(made.iterdir())}
        (made / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        close_to_others(made)
        shutil.rmtree(directory, ignore_errors=True)
        made.rename(directory)


def _run_export(weights: Path, digest: str, directory: Path, runtime: str) -> None:
    command = [sys.executable, "-m", "yolo_backend.inference.exports", str(weights), digest, str(directory), runtime]
    done = subprocess.run(
        command,
        cwd=WORKING_DIR,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode or not _is_whole(directory):
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise subprocess.SubprocessError(said[-1])


def _is_whole(directory: Path) -> bool:
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and all(sha256(directory / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


if __name__ == "__main__":
    # Predictions go first.
    if hasattr(os, "nice"):
        os.nice(10)
    export(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])
