"""The YOLO library, imported the one way the service wants it.

Importing it takes seconds and hundreds of megabytes, so nothing imports it before a model is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from yolo_backend.errors import WeightsError
from yolo_backend.private_files import private_umask
from yolo_backend.settings import get_settings

_import_lock = threading.Lock()


def ultralytics() -> ModuleType:
    """Return the library's module, imported and set up at the first call.

    Raises:
        WeightsError: this version of it would run what is in weights.
    """
    with _import_lock:
        return _import()[0]


def import_openvino() -> ModuleType:
    """Return OpenVINO's module, imported at the first call."""
    _silence_openvino()
    return importlib.import_module("openvino")


def official_names() -> frozenset[str]:
    """Return the names of the weights that the library's authors publish."""
    ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    return frozenset(GITHUB_ASSETS_NAMES)


def fetch_official(name: str, directory: Path) -> Path:
    """Fetch weights that the library's authors publish, into a directory.

    Raises:
        Exception: of many kinds, whatever the library raises.
    """
    with _import_lock:
        fetch = _import()[1]
    return Path(fetch(directory / name, progress=False))


def refusal(error: BaseException | None) -> str | None:
    """Say in words what weights hold that is no part of a model, such as ``os.system``, if ``error`` is about that."""
    while error is not None and not isinstance(error, pickle.UnpicklingError):
        error = error.__cause__
    if error is None:
        return None
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = named[1] if named else "something"
    return f"they hold {what}, which is no part of a model and was not run"


@lru_cache(maxsize=1)
def _import() -> tuple[ModuleType, Callable[..., str]]:
    os.environ.update(
        YOLO_AUTOINSTALL="false",  # never run pip
        YOLO_OFFLINE="true",  # no reports to anyone, no search for updates; official weights are fetched all the same
        ULTRALYTICS_SAFE_LOAD="true",  # unpickle the known classes of models and nothing else
        YOLO_VERBOSE="false",
        ORT_DISABLE_TELEMETRY="1",  # ONNX Runtime reports every import to its makers
    )
    os.environ.setdefault("YOLO_CONFIG_DIR", str(get_settings().model_dir))
    _silence_openvino()  # which the library imports to make a network
    with private_umask():  # it writes its settings
        import torch
        import ultralytics
        from ultralytics.utils import downloads, plotting

    importlib.import_module("torchvision")  # the library does so at the first prediction
    # Without both, the library would unpickle anything, and say nothing.
    if not getattr(ultralytics.utils, "SAFE_LOAD", False) or not hasattr(
        torch.serialization, "get_unsafe_globals_in_checkpoint"
    ):
        raise WeightsError(
            f"ultralytics {ultralytics.__version__} with torch {torch.__version__} would run what is in weights: "
            "install the versions that requirements.txt asks for"
        )
    fetch = downloads.attempt_download_asset
    # The library would look for files under names of its own (yolov5s.pt as yolov5su.pt), and fetch what isn't there.
    downloads.attempt_download_asset = _as_it_is
    # It would fetch a font for names that are not ASCII.
    plotting.check_font = _installed_font
    # Its records are written as the service's are.
    for handler in list(ultralytics.utils.LOGGER.handlers):
        ultralytics.utils.LOGGER.removeHandler(handler)
    ultralytics.utils.LOGGER.propagate = True
    # The library leaves one core unused.
    torch.set_num_threads(available_cores())
    return ultralytics, fetch


def _silence_openvino() -> None:
    """Let OpenVINO not tell its makers of every import and conversion, which it does if it can import this package."""
    cast(Any, sys.modules)["openvino_telemetry"] = None


def _as_it_is(file: Any, *_: object, **__: object) -> str:
    return str(file)


def _installed_font(_: object = None) -> str:
    """Return the font that Matplotlib ships, which the library needs anyway.

    Matplotlib isn't imported for it: its font manager would start ``fc-list`` to list the machine's fonts, take seconds, and
    keep the list where the service may not write.
    """
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("matplotlib is not installed")
    return str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


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
