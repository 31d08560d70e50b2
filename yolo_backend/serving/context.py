"""The request that is being answered, as the rooms behind the routes need to know it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from flask import g, has_request_context, request


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """One predict request.

    Attributes:
        arrived: `time.monotonic()` of its arrival; the deadline counts from there.
        has_hung_up: tells whether the client is gone.
        project: as Label Studio names it.
        interactive: the answer goes to an editor, and is not saved.
    """

    arrived: float
    has_hung_up: Callable[[], bool] = lambda: False
    project: str | None = None
    interactive: bool = False


def current_request(project: str | None, *, interactive: bool) -> RequestContext:
    """Return the request that is being answered; outside of one, a request of this moment."""
    if not has_request_context():
        return RequestContext(arrived=time.monotonic(), project=project, interactive=interactive)
    connection = request.environ.get("gunicorn.socket")
    return RequestContext(
        arrived=g.get("arrived", time.monotonic()),
        has_hung_up=partial(_is_closed, connection) if connection is not None else lambda: False,
        project=project,
        interactive=interactive,
    )


def _is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has closed the connection."""
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):
        return True
