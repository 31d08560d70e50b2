"""Names of weights -> files: where they may lie, what identifies them, how an official name is fetched."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import threading
import time
from pathlib import Path, PurePosixPath, PureWindowsPath

from yolo_backend.errors import WeightsError
from yolo_backend.inference.library import fetch_official, official_names
from yolo_backend.inference.staging import staging_directory
from yolo_backend.settings import BUNDLED_MODELS, Settings

logger = logging.getLogger(__name__)

SUFFIXES = (".pt", ".onnx", ".tflite", ".engine", "_openvino_model")
"""Ends of the names of weights: PyTorch's and those of exported models. The last is a directory."""
MISSING = "missing"
"""Stands for the digest of weights that aren't there."""
RETRY_SECONDS = 60
"""After a failed download the same name is not asked for again for so long: every task would wait for it."""


class WeightsStore:
    """Finds weights by name under ``MODEL_ROOT``, then among the bundled ones. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.roots = list(dict.fromkeys(path.resolve() for path in (settings.model_root, BUNDLED_MODELS)))
        self._allow_downloads = settings.allow_downloads
        self._listed = settings.listed_weights
        self._digests: dict[Path, tuple[tuple[tuple[int, int, int], ...], str]] = {}
        self._failed_downloads: dict[str, tuple[float, str]] = {}
        self._download_lock = threading.Lock()

    def find(self, name: str) -> Path | None:
        """Return the file that ``name`` means, or None if there is none.

        Raises:
            WeightsError: ``name`` is not the name of weights under the service's directories.
        """
        relative = _relative_path(name)
        for root in self.roots:
            try:
                path = (root / relative).resolve()
                is_there = path.is_dir() if path.name.endswith("_openvino_model") else path.is_file()
            except (OSError, RuntimeError) as error:  # a name that is too long, a link to itself
                raise WeightsError(f"weights {name[:60]!r} can't be looked up: {error}") from None
            inside = path.rglob("*") if is_there and path.is_dir() else ()
            if not all(file.resolve().is_relative_to(root) for file in (path, *inside)):
                raise WeightsError(f"weights {name!r} lead out of {root}; put the file itself there")
            if is_there:
                return path
        return None

    def get(self, name: str) -> Path:
        """Return the file that ``name`` means; an official name is fetched if it isn't there yet.

        Raises:
            WeightsError: there is no such file and it can't be fetched, or it is none that may be loaded.
        """
        path = self.find(name)
        if path is None:
            with self._download_lock:
                path = self.find(name) or self._download(name)
        self._check_listed(name, path)
        return path

    def digest(self, name: str) -> str:
        """Return what identifies the content of ``name``: its SHA-256 in hex, or `MISSING`."""
        try:
            path = self.find(name)
            return MISSING if path is None else self._digest(path)
        except (WeightsError, OSError):
            return MISSING

    def lacks(self, name: str) -> bool:
        """Tell whether ``name`` may be used and isn't there."""
        try:
            return self.find(name) is None
        except WeightsError:
            return False

    def _check_listed(self, name: str, path: Path) -> None:
        is_engine = path.suffix == ".engine"
        if not self._listed and not is_engine:
            return
        digest = self._digest(path)
        if digest not in self._listed:
            why = "an engine holds code for the GPU, and " if is_engine else ""
            raise WeightsError(f"weights {name!r} are refused: {why}MODEL_SHA256 doesn't list them ({digest})")

    def _digest(self, path: Path) -> str:
        state = _state(path)
        known = self._digests.get(path)
        if known is None or known[0] != state:
            known = self._digests[path] = (state, sha256(path))
        return known[1]

    def available(self) -> list[str]:
        """Return the names of all weights that are there, sorted."""
        names = {
            path.relative_to(root).as_posix()
            for root in self.roots
            for suffix in SUFFIXES
            for path in root.rglob(f"*{suffix}")
            if path.exists() and path.resolve().is_relative_to(root) and not path.parent.name.startswith(".")
        }
        return sorted(names)

    def _download(self, name: str) -> Path:
        if name not in official_names():
            spelled = {there.casefold(): there for there in self.available()}
            nearest = difflib.get_close_matches(name.casefold(), spelled, 1)
            hint = f"Did you mean {spelled[nearest[0]]}? " if nearest else ""
            raise WeightsError(f"there are no weights {name!r}. {hint}{self._remedy()}")
        if not self._allow_downloads:
            raise WeightsError(
                f"the official weights {name!r} are not there, and ALLOW_DOWNLOADS is false. {self._remedy()}"
            )
        root = self.roots[0]
        failed_at, reason = self._failed_downloads.get(name, (-RETRY_SECONDS, ""))
        if time.monotonic() - failed_at >= RETRY_SECONDS:
            logger.info("Fetching the official weights %s", name)
            if not os.access(root, os.W_OK):
                reason = f"{root} is missing or not writable"
            else:
                try:
                    with staging_directory(root) as making:
                        path = fetch_official(name, making).replace(root / name)
                        path.chmod(0o644)  # they are published, and others may use MODEL_ROOT as well
                except Exception as error:  # the library raises many kinds here
                    reason = " ".join(str(error).lstrip("❌ ").split())
                else:
                    logger.info("Fetched %s", path)
                    return path
            self._failed_downloads[name] = (time.monotonic(), reason)
        raise WeightsError(f"the official weights {name!r} could not be fetched ({reason}). {self._remedy()}")

    def _remedy(self) -> str:
        there = ", ".join(self.available()) or "none"
        return f"Put the file into {self.roots[0]}, or name in model_path what can be used now: {there}"


def _state(path: Path) -> tuple[tuple[int, int, int], ...]:
    """Return what changes when a file, or one in a directory, is replaced."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in map(Path.stat, files))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex; of a directory, that of its files with their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _relative_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if (
        not name
        or "://" in name
        or "\0" in name
        or "\\" in name
        or path.is_absolute()
        or PureWindowsPath(name).drive
        or ".." in path.parts
    ):
        raise WeightsError(f"model_path={name!r} is not allowed: name a file in the service's MODEL_ROOT")
    if not path.name.endswith(SUFFIXES):
        raise WeightsError(
            f"model_path={name!r} is not the name of weights, such as demo-detect.pt; it ends in {', '.join(SUFFIXES)}"
        )
    return path
