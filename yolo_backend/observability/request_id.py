"""The id of the current request, for every line of the log, also in the threads that work for the request."""

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
    """Give each request its own id from the header, or a new one, before anything else sees it; the answer has it too.

    The id outlives the answer, since gunicorn logs the request after that; ``gunicorn_hooks`` resets it.
    """

    def begin(_app: Flask, **_: object) -> None:
        sent = request.headers.get(HEADER, "")
        request_id.set(sent if _SANE.fullmatch(sent) else secrets.token_hex(8))

    def answer(response: Response) -> Response:
        response.headers[HEADER] = request_id.get()
        return response

    request_started.connect(begin, app, weak=False)
    app.after_request(answer)


class ThreadPool(ThreadPoolExecutor):
    """Threads that keep the request id of the thread that submitted the work."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """See ``ThreadPoolExecutor``."""
        return super().submit(partial(copy_context().run, partial(fn, *args, **kwargs)))
