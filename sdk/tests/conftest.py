"""What all tests of the SDK share: a cache of their own, no credentials from outside, and requests of a real Label Studio."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"

OUTSIDE = (
    "BASIC_AUTH_USER",
    "BASIC_AUTH_PASS",
    "LABEL_STUDIO_URL",
    "LABEL_STUDIO_HOST",
    "LABEL_STUDIO_API_KEY",
    "LABEL_STUDIO_ACCESS_TOKEN",
)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "model-dir"))
    for variable in OUTSIDE:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def captured() -> Callable[[str], dict[str, Any]]:
    """Return the body of a request as Label Studio 1.23 sent it, without what no backend reads."""

    def load(name: str) -> dict[str, Any]:
        return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))

    return load
