"""Loaded models: each file once per process, detections for any number of pictures."""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from yolo_backend.errors import WeightsError
from yolo_backend.inference.backends.base import Backend
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.inference.device import choose_device, is_surely_cpu
from yolo_backend.inference.exports import Exports
from yolo_backend.inference.library import import_openvino, is_imported, ultralytics
from yolo_backend.inference.model import Model
from yolo_backend.inference.options import ModelSpec, PredictOptions
from yolo_backend.inference.single_flight import SingleFlightLRU
from yolo_backend.inference.weights import WeightsStore
from yolo_backend.observability import metrics
from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.settings import Settings

logger = logging.getLogger(__name__)


class ModelStore:
    """The models in memory: loaded once, the least recently used one dropped first. Safe to use from several threads."""

    def __init__(self, settings: Settings, weights: WeightsStore) -> None:
        self._settings = settings
        self._weights = weights
        directory = "onnx" if settings.runtime == "onnx" else "openvino"
        self._exports = Exports(settings.model_dir / directory, directory)
        self._exporter = ThreadPool(1, thread_name_prefix="export")
        self._models: SingleFlightLRU[tuple[Path, str, ModelSpec], Model] = SingleFlightLRU(
            settings.model_cache_size, self._report_changes
        )
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
            import_openvino()  # now rather than at the first prediction
        else:
            ultralytics()
        self._prepared.set()

    def get(self, spec: ModelSpec) -> Model:
        """Return a model, loaded if it isn't yet, or if the file has changed.

        Raises:
            WeightsError: there are no such weights, or they can't be loaded.
        """
        name = spec.weights
        path, digest = self._weights.get(name), self._weights.digest(name)

        def load() -> Model:
            with metrics.model_loads.labels("failed").count_exceptions():
                model = self._load(path, digest)
                if self._weights.digest(name) != digest:
                    raise WeightsError(f"weights {name!r} were replaced while they were loaded; ask again")
            metrics.model_loads.labels("loaded").inc()
            return model

        return self._models.get((path, digest, spec), load)

    def loaded(self) -> list[dict[str, str]]:
        """Return what is in memory: names of files, what they are for, and what runs them where."""
        return [
            {"weights": path.name, "task": model.task, "runtime": model.runtime, "device": model.device}
            for (path, _, _), model in self._models.items()
        ]

    def _measure(self) -> None:
        models = [model for _, model in self._models.items()]
        metrics.models_in_memory((model.task, model.runtime, model.weights_bytes) for model in models)

    def _report_changes(self, dropped: Sequence[tuple[Path, str, ModelSpec]]) -> None:
        for path, _, _ in dropped:
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
        backend: Backend | None = self._exported(path, digest) if exported else None
        made = backend is not None
        if backend is None:
            backend = load_backend(
                path, device, batch_size=self._settings.batch_size, openvino=self._exports.runtime == "openvino"
            )
        model = Model(backend)
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

    def _exported(self, path: Path, digest: str) -> Backend | None:
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
                backend = self._exports.load(self._exports.make(path, digest))
                # Compiled before somebody waits for it.
                Model(backend).warm_up(PredictOptions(max_det=1))
            metrics.exports.labels("made").inc()
            model.swap(backend)
            self._measure()
            logger.info("%s goes on in %s", path.name, model.runtime)
        except WeightsError as error:
            logger.warning("%s stays with PyTorch: %s", path.name, error)
        except Exception:
            logger.exception("%s stays with PyTorch", path.name)
