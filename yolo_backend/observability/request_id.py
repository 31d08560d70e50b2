"""Which request a line of the log belongs to, also in the threads that work for it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from flask import Flask, Response, request, request_started

HEADER = "X-Request-ID"
NONE = "-"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

request_id: ContextVar[str] = ContextVar("request_id", default=NONE)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def identify_requests(app: Flask) -> None:
    """Give each request the id that it brings, or a new one, before anything else looks at it; the answer has it too.

    It stays when the request has been answered, since gunicorn logs it after that; gunicorn.conf.py ends it.
    """

    def begin(_app: Flask, **_: object) -> None:
        brought = request.headers.get(HEADER, "")
        request_id.set(brought if _SANE.fullmatch(brought) else secrets.token_hex(8))

    def answer(response: Response) -> Response:
        response.headers[HEADER] = request_id.get()
        return response

    request_started.connect(begin, app, weak=False)
    app.after_request(answer)


class ThreadPool(ThreadPoolExecutor):
    """Threads that work for the request that gave them the work."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """See ``ThreadPoolExecutor``."""
        return super().submit(partial(copy_context().run, partial(fn, *args, **kwargs)))
