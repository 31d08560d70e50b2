"""Answers of every application: errors as JSON, and headers that make browsers careful."""

import logging
import math

from flask import Response, jsonify, request
from werkzeug.exceptions import HTTPException

logger = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer, unless its route has set others."""


def add_security_headers(answer: Response) -> Response:
    """Set the headers that an answer doesn't have yet."""
    for name, value in SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def unauthorized() -> tuple[Response, int]:
    """Ask for the user and the password."""
    answer = jsonify(error="This service asks for basic authentication; set user and password on the ML backend")
    answer.headers["WWW-Authenticate"] = 'Basic realm="ML backend", charset="UTF-8"'
    return answer, 401


def too_many(what: str, seconds: float) -> tuple[Response, int]:
    """Tell a client to wait."""
    answer = jsonify(error=f"Too many {what}; ask again later")
    answer.headers["Retry-After"] = str(math.ceil(seconds))
    return answer, 429


def error_answer(error: Exception) -> tuple[Response, int]:
    """Return what a client gets instead of an exception; the traceback goes to the log alone."""
    if isinstance(error, HTTPException):
        # Label Studio shows its users no more than the status, so the log is where the reason can be read.
        level = logging.DEBUG if error.code in {404, 405} else logging.WARNING
        logger.log(level, "%s %r: %s %s", request.method, request.path, error.code, error.description)
        answer = jsonify(error=error.description or error.name)
        if allowed := getattr(error, "valid_methods", None):
            answer.headers["Allow"] = ", ".join(sorted(allowed))
        return answer, error.code or 500
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 600:
        logger.error("%s %r: %s", request.method, request.path, error, exc_info=error if status >= 500 else None)
        return jsonify(error=str(error)), status
    logger.error("%s %r failed", request.method, request.path, exc_info=error)
    return jsonify(error=f"Internal error ({type(error).__name__}); the log of the ML backend has the details"), 500
