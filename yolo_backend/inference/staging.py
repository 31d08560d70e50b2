"""Files are made in a directory aside and then renamed, so that none is ever there half written."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".making-"
STALE = 24 * 3600  # seconds after which nobody is still at work on a file


@contextmanager
def staging_directory(directory: Path) -> Iterator[Path]:
    """Give a directory in ``directory`` for something that is being made there, for as long as the context lasts.

    What a process left behind that was killed in the middle is removed after a day.

    Raises:
        OSError: ``directory`` can't be written.
    """
    for left in directory.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - STALE:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=directory) as made:
        yield Path(made)
