"""The YOLO library, imported the one way the service wants it.

Importing it takes seconds and hundreds of megabytes, so nothing imports it before a model is needed.
"""

from __future__ import annotations

import math
import os
import threading
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from yolo_backend.settings import get_settings

_import_lock = threading.Lock()


def ultralytics() -> ModuleType:
    """Return the library's module, imported and set up at the first call."""
    with _import_lock:
        return _import()


@lru_cache(maxsize=1)
def _import() -> ModuleType:
    os.environ.update(
        YOLO_AUTOINSTALL="false",  # never run pip
        YOLO_OFFLINE="true",  # no reports to anyone, no search for updates; official weights are fetched all the same
        ULTRALYTICS_SAFE_LOAD="true",  # unpickle the known classes of models and nothing else
        YOLO_VERBOSE="false",
    )
    os.environ.setdefault("YOLO_CONFIG_DIR", str(get_settings().model_dir))
    import torch
    import torchvision  # noqa: F401 - the library imports it at the first prediction
    import ultralytics

    # The library leaves one core unused.
    torch.set_num_threads(available_cores())
    return ultralytics


def is_imported() -> bool:
    """Tell whether the library is there without having to wait for it."""
    return _import.cache_info().currsize > 0


def available_cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: what it may run on, and what its container is limited to.

    Args:
        cgroups: where Linux tells a container's limits.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if (limits := cgroups / "cpu.max").exists():
            quota, period = limits.read_text().split()
        else:
            quota, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or no limit: "max"
        pass
    return cores
