"""How many cores the models may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolo_backend.inference.library import available_cores

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, ALL, id="no container"),
        pytest.param({"cpu.max": "max 100000"}, ALL, id="no limit"),
        pytest.param({"cpu.max": "100000 100000"}, 1, id="one core"),
        pytest.param({"cpu.max": "50000 100000"}, 1, id="half a core"),
        pytest.param({"cpu.max": "6400000 100000"}, ALL, id="more than there are"),
        pytest.param({"cpu.max": "nonsense"}, ALL, id="unreadable"),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1, id="version 1"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL, id="version 1, no limit"),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert available_cores(tmp_path) == expected
