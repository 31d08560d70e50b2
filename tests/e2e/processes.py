"""Server processes that a test starts, waits for and stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests


class ServerFailed(RuntimeError):
    """A server ended by itself or was not ready in time; the message carries the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url: str, *, auth: tuple[str, str] | None = None) -> bool:
    """Whether a GET of ``url`` is answered with a success, given this user and password."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy must not come between us and loopback
            return session.get(url, auth=auth, timeout=2).ok
    except requests.RequestException:
        return False


class ServerProcess:
    """A server in a process group of its own, its output in the file ``log``."""

    def __init__(self, name: str, *, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, ready: Callable[[], bool], timeout: float
    ) -> None:
        """Run ``command`` and return when ``ready`` says so.

        Raises ServerFailed when the process ends, or isn't ready within ``timeout`` seconds.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not ready():
            if self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self.name} wasn't ready in {timeout:g} s:\n{self.log_tail()}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The process ids of what the server has started, the oldest first."""
        pid = self.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, *, timeout: float = 20) -> int | None:
        """Ask the server to end with SIGTERM and give its exit status; kill what is left after ``timeout`` seconds.

        A server that was never started has the status None.
        """
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        return self._process.returncode

    def kill(self) -> None:
        """End the server and all that it has started at once, with SIGKILL."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log_text(self) -> str:
        """Everything that the server has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, characters: int = 6000) -> str:
        """The end of the log, for an error message."""
        return self.log_text()[-characters:]
