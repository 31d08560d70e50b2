"""Opens files below a directory, so that no link leads out of it, even one that replaces a directory meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

# Each directory of a path is opened relative to the one above it, if the system can do that. To pass through a directory
# O_PATH is enough, if the system has it.
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NO_LINK


def open_beneath(root: Path, parts: Sequence[str]) -> int:
    """Open a file for reading, and return its descriptor.

    Args:
        root: A directory, without links.
        parts: The names from there to the file; none is a link, or ``..``.

    Raises:
        OSError: it can't be opened, or a part has become a link.
    """
    if not parts or any(name in ("", ".", "..") or "/" in name or os.sep in name for name in parts):
        raise OSError(errno.EINVAL, "not the names of a path")
    if not _HAS_DESCRIPTORS:
        return _open_and_check(root.joinpath(*parts))
    directory = os.open(root, _DIRECTORY)
    try:
        for name in parts[:-1]:
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(parts[-1], _FILE, dir_fd=directory)
    finally:
        os.close(directory)


def _open_and_check(path: Path) -> int:
    """Open a file, and check that its path still leads to it without a link."""
    descriptor = os.open(path, _FILE)
    try:
        if path.resolve(strict=True) != path or not os.path.samestat(path.stat(), os.fstat(descriptor)):
            raise OSError("its path was replaced while it was opened")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
