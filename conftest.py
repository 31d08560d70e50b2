"""Every test runs as on a machine that has never run the service, and carries a mark that says what kind it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolo_backend.settings import settings_environment

ROOT = Path(__file__).parent
KINDS = ("e2e", "deploy", "security")
"""The tests in directories of these names are of that kind; the others are unit tests, unless they are slow."""

_scratch = Path(tempfile.mkdtemp(prefix="yolo-backend-tests-"))
_home = _scratch / "home"


def _begin_afresh() -> None:
    """Let nothing that is on this machine or in its environment make a test pass, or fail."""
    _home.mkdir()
    for name in [*settings_environment(), *(name for name in os.environ if name.startswith("XDG_"))]:
        del os.environ[name]
    os.environ.update(
        HOME=str(_home),
        MODEL_DIR=str(_scratch / "data"),
        # The same from the first prediction to the last. By default OpenVINO takes over from PyTorch as soon as its network
        # is made, and the last digits of its answers are others. Tests that are about this ask for it.
        RUNTIME="pytorch",
        # The servers of the tests are on this machine, which by default nobody may ask.
        MEDIA_HOSTS="*",
    )


_begin_afresh()  # before anything is imported that looks


def pytest_unconfigure() -> None:
    shutil.rmtree(_scratch, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kinds = [part for part in item.path.relative_to(ROOT).parts if part in KINDS]
        if not kinds and item.get_closest_marker("slow") is None:
            kinds = ["unit"]
        for kind in kinds:
            item.add_marker(kind)


@pytest.fixture(autouse=True)
def _nothing_is_kept_at_home(request: pytest.FixtureRequest) -> Iterator[None]:
    """The service, with the libraries that it uses, writes under MODEL_DIR and the system's temporary directory alone."""
    yield
    if request.node.get_closest_marker("e2e") is None:  # browsers and Label Studio keep things there
        assert [path.name for path in _home.iterdir()] == []
