"""gunicorn's worker with threads, but with time limits for clients.

A thread reads a request and writes its answer, and gunicorn lets it wait for the client for ever: a few hundred connections
that send a byte now and then would occupy all threads, and no other client would be answered.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from yolo_backend.settings import get_settings


class ClientSocket(socket.socket):
    """A connection that gives the client so many seconds to send a request, and again to take the answer."""

    seconds: float
    _deadline: float = float("inf")

    @classmethod
    def taking_over(cls, connection: socket.socket, seconds: float) -> ClientSocket:
        """Return ``connection`` as a socket of this kind; the given object can't be used any more."""
        client = cls(fileno=connection.detach())
        client.seconds = seconds
        return client

    def expect_request(self) -> None:
        """Start the time for the next request."""
        self._deadline = time.monotonic() + self.seconds

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive data, if it comes in time."""
        if flags:  # a look at whether the client has hung up
            return super().recv(size, flags)
        before = self.gettimeout()
        left = max(0.001, self._deadline - time.monotonic())
        self.settimeout(left if before is None else min(before, left))
        try:
            return super().recv(size)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client took longer than CLIENT_TIMEOUT allows") from None
        finally:
            self.settimeout(before)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all data, if the client takes it in time."""
        before = self.gettimeout()
        self.settimeout(self.seconds)
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client took longer than CLIENT_TIMEOUT allows") from None
        finally:
            self.settimeout(before)


class Worker(ThreadWorker):
    """gunicorn's own worker with sockets of another kind."""

    def enqueue_req(self, conn: Any) -> None:
        """Queue a connection that has data."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket.taking_over(conn.sock, get_settings().client_timeout)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read a request, have it answered, and send the answer."""
        conn.sock.expect_request()
        return super().handle(conn)
