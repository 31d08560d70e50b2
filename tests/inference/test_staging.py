from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from yolo_backend.inference.staging import PREFIX, STALE, staging_directory


def test_what_is_made_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with staging_directory(tmp_path) as making:
        (making / "whole").write_text("all of it")
        assert not (tmp_path / "whole").exists()
        (making / "whole").replace(tmp_path / "whole")

    def fails() -> None:
        with staging_directory(tmp_path) as making:
            (making / "half").write_text("half of")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fails()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize(("age", "kept"), [(STALE / 2, True), (STALE * 2, False)])
def test_what_a_killed_process_left_is_removed_after_a_while(tmp_path: Path, age: float, kept: bool) -> None:
    left = tmp_path / f"{PREFIX}abc"
    left.mkdir()
    (left / "half").write_text("half of")
    then = time.time() - age
    os.utime(left, (then, then))
    with staging_directory(tmp_path):
        assert left.exists() == kept
