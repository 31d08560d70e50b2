"""Files below a directory, opened so that nothing leads out of it, even if it is exchanged meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# A path is followed by its directories' descriptors where the system has those; a mere search through one needs no more
# than O_PATH where there is that.
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NO_LINK


def open_beneath(root: Path, parts: Sequence[str]) -> int:
    """Open a file for reading, and return its descriptor.

    Args:
        root: a directory, without links.
        parts: the names from there to the file; none is a link, or ``..``.

    Raises:
        OSError: it can't be opened, or a part is a link by now.
    """
    if not _HAS_DESCRIPTORS:
        return _opened_and_checked(root.joinpath(*parts))
    directory = os.open(root, _DIRECTORY)
    try:
        for name in parts[:-1]:
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(parts[-1], _FILE, dir_fd=directory)
    finally:
        os.close(directory)


def _opened_and_checked(path: Path) -> int:
    """Open a file, and look whether it is still the one that its path leads to without a link."""
    descriptor = os.open(path, _FILE)
    try:
        if path.resolve(strict=True) != path or not os.path.samestat(path.stat(), os.fstat(descriptor)):
            raise OSError("its path was exchanged while it was opened")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
