"""Which device models run on."""

from __future__ import annotations

import sys
from pathlib import Path

from yolo_backend.errors import WeightsError
from yolo_backend.inference.library import ultralytics

GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
"""In /dev: of NVIDIA's drivers, also on Jetson and in Windows' Linux, and of AMD's."""


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
