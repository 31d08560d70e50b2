"""A plain proxy that hands one connection after another to the next server: what a Service of Kubernetes does."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65536


class RoundRobin:
    """Relays bytes and understands none of them. A server that refuses the connection is passed over."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._addresses = [(parts.hostname or "", parts.port or 80) for parts in map(urlsplit, urls)]
        self._next = itertools.cycle(range(len(urls)))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RoundRobin:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone doesn't end an accept that waits.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        for _ in self._addresses:
            try:
                server = socket.create_connection(self._addresses[next(self._next)], timeout=5)
            except OSError:
                continue
            server.settimeout(None)
            with client, server:
                back = threading.Thread(target=_relay, args=(server, client), daemon=True)
                back.start()
                _relay(client, server)
                back.join()
            return
        client.close()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # one side is gone, and the other is told so
        while data := source.recv(CHUNK):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RD if end is source else socket.SHUT_WR)
