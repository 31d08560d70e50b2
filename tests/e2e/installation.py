"""Label Studio in a virtual environment of its own, and its database with every migration applied.

Label Studio's pins don't fit beside the service's, so it never shares an environment with it. Making the environment
takes minutes and the migrations most of another one; both are done once and kept.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

VERSION = "1.23.2"
REPOSITORY = Path(__file__).resolve().parents[2]

_INSTALLED_VERSION = "import importlib.metadata; print(importlib.metadata.version('label-studio'))"
_UNFINISHED = "label-studio-installation-unfinished"

# Label Studio reads a setting X as LABEL_STUDIO_X, HEARTEX_X and plain X; these plain ones are in many environments.
_PLAIN_SETTINGS = frozenset(
    ("HOST", "PORT", "USERNAME", "PASSWORD", "USER_TOKEN", "DEBUG", "DATABASE_NAME", "DJANGO_DB", "BASE_DATA_DIR")
    + ("LOG_LEVEL", "FEATURE_FLAGS_FILE", "REDIS_LOCATION", "HOSTNAME_OVERRIDE")
)


class InstallationError(RuntimeError):
    """The directory for Label Studio's environment holds something that isn't ours to replace."""


def directory() -> Path:
    """Where Label Studio's environment lives: LABEL_STUDIO_VENV, else ``.cache`` in the repository."""
    return Path(os.environ.get("LABEL_STUDIO_VENV") or REPOSITORY / ".cache" / f"label-studio-{VERSION}").absolute()


def base_environment() -> dict[str, str]:
    """This process's environment without anything that Label Studio would take for a setting, and without telemetry."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LABEL_STUDIO_", "HEARTEX_")) and name not in _PLAIN_SETTINGS
    }
    return env | {
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "PYTHONUNBUFFERED": "1",
    }


def installed() -> Path:
    """The ``label-studio`` command; makes the environment when there is none, or only half of one.

    Raises InstallationError when the directory holds an environment that we didn't make and that isn't this version.
    """
    venv = directory()
    with _only_one_at_a_time(venv):
        if (venv / _UNFINISHED).exists():
            shutil.rmtree(venv)
        if not venv.exists():
            _install(venv)
        found = _version_in(venv)
    if found != VERSION:
        raise InstallationError(
            f"{str(venv)!r} holds {found or 'no Label Studio'}, expected label-studio {VERSION}: "
            "remove the directory, or point LABEL_STUDIO_VENV at another one"
        )
    return venv / "bin" / "label-studio"


def migrated_database() -> Path:
    """An SQLite file with Label Studio's tables and no rows of ours; a server starts from a copy of it in seconds."""
    command = installed()
    database = directory() / f"migrated-{VERSION}.sqlite3"
    with _only_one_at_a_time(directory()):
        if not database.exists():
            with tempfile.TemporaryDirectory(prefix="label-studio-migrations-") as data_dir:
                # Every command migrates before it does its own work; this one has none worth mentioning.
                _run(
                    [str(command), "version", "--data-dir", data_dir],
                    env=base_environment() | {"LABEL_STUDIO_BASE_DATA_DIR": data_dir},
                )
                unfinished = database.with_suffix(".unfinished")
                shutil.copyfile(Path(data_dir) / "label_studio.sqlite3", unfinished)
                unfinished.replace(database)
    return database


def _install(venv: Path) -> None:
    venv.mkdir(parents=True)
    marker = venv / _UNFINISHED
    marker.touch()
    _run([sys.executable, "-m", "venv", str(venv)])
    # With the settings and the cache that pip has on this machine: the tests' own home directory is empty.
    env = {**os.environ, "HOME": _home_of_the_user()}
    _run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", f"label-studio=={VERSION}"], env=env)
    marker.unlink()


def _home_of_the_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # as in some containers
        return os.environ["HOME"]


def _version_in(venv: Path) -> str | None:
    python = venv / "bin" / "python"
    if not python.exists():
        return None
    return (
        subprocess.run([str(python), "-c", _INSTALLED_VERSION], capture_output=True, text=True).stdout.strip() or None
    )


def _run(command: list[str], *, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise InstallationError(f"{' '.join(command)!r} ended with {done.returncode}:\n{done.stdout[-3000:]}")


@contextmanager
def _only_one_at_a_time(venv: Path) -> Iterator[None]:
    """Two test runs at once must not install into the same directory."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with (venv.parent / f".{venv.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
