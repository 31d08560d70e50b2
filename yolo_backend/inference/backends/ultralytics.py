"""Models that the YOLO library runs: PyTorch weights, and its exported formats."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from yolo_backend.inference.backends.base import Backend, Outputs, _height_and_width
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.postprocess import ModelMetadata

logger = logging.getLogger(__name__)
_device_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""PyTorch has one batch at a time on each device: it takes all of it, and two at once are slower than one by one."""


class UltralyticsBackend(Backend):
    """A model that the YOLO library runs: PyTorch weights, and its exported formats.

    Calls that arrive while the device is busy wait, and go through it together as one batch.
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
        self.metadata = ModelMetadata(
            task=task or backend.task or "detect",
            names=dict(backend.names),
            end_to_end=bool(backend.end2end),
            keypoint_shape=tuple(backend.kpt_shape) if hasattr(backend, "kpt_shape") else None,
        )
        if path.suffix != ".pt":
            size = getattr(backend, "imgsz", None)
        self.size = _height_and_width(size)
        self.stride = int(backend.stride) if path.suffix == ".pt" or backend.dynamic else None
        self.runtime = "pytorch" if path.suffix == ".pt" else str(backend.format)
        self.device = device
        if path.suffix == ".pt":
            self.weights_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
        # PyTorch has a CPU's cores work on one picture together.
        self.max_concurrency = 1 if device == "cpu" else batch_size
        # What is exported for one size is for one picture as well.
        self._batch_size = batch_size if self.stride is not None else 1
        self._waiting: defaultdict[tuple[int, ...], deque[tuple[np.ndarray, Future[Outputs]]]] = defaultdict(deque)

    def infer(self, pixels: np.ndarray, *, alone: bool = False) -> Outputs:
        """Run the model on a picture, in a batch with those that wait at the same time; see `Backend.infer`."""
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
            if self.metadata.task == "segment":
                tensors = [raw[0][0], raw[0][1]] if isinstance(raw[0], tuple) else [raw[0], raw[1]]
            else:
                while isinstance(raw, (list, tuple)):
                    raw = raw[0]
                tensors = [raw]
            # A copy: a runtime may use its memory again for the next batch.
            arrays = [tensor.float().cpu().numpy().copy() for tensor in tensors]
        return [[array[place] for array in arrays] for place in range(len(pictures))]
