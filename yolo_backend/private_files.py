"""Files that nobody but this process's user can read, whatever its umask is: some hold tokens, or pictures of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MASK = 0o077
"""The umask under which a file is its user's alone."""


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing; one that is there stays as it is.

    Raises:
        OSError: it can't be made.
    """
    for directory in (*reversed(path.parents), path):
        if not directory.is_dir():
            # Another process may be faster.
            with suppress(FileExistsError):
                directory.mkdir(0o700)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is no directory")


def make_file(path: Path) -> None:
    """Make a file, empty if it is not there yet, and let nobody else read it.

    Raises:
        OSError: it can't be made.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_mode & MASK:
            path.chmod(0o600)
    finally:
        os.close(descriptor)


def close_to_others(path: Path) -> None:
    """Let nobody else read what others have made, a file or a directory with all that is in it.

    Raises:
        OSError: it can't be changed.
    """
    for inside in (path, *path.rglob("*")):
        if not inside.is_symlink():
            inside.chmod(0o700 if inside.is_dir() else 0o600)


@contextmanager
def private_umask() -> Iterator[None]:
    """Let all that the process makes meanwhile be private; the umask is the same for all of its threads."""
    before = os.umask(MASK)
    try:
        yield
    finally:
        os.umask(before)
