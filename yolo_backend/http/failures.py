"""Reasons why a request failed, in words that are safe to print."""

from __future__ import annotations

import http.client
import socket
import ssl

import requests
import urllib3

from yolo_backend.settings.hosts import origin

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
UNKNOWN_CA = frozenset({18, 19, 20, 21})  # OpenSSL's error numbers
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})  # of servers that answer without TLS


def reason(error: BaseException) -> str:
    """Return why a request failed, without the address: the text of the exception holds its query."""
    cause = root_cause(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy can't be used ({type(cause).__name__})"
    if isinstance(cause, socket.gaierror):
        return "the host name is unknown here"
    if isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
        return "no connection within CONNECT_TIMEOUT"
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return "took longer than DOWNLOAD_TIMEOUT allows"
    if isinstance(cause, ssl.SSLError):
        return f"no secure connection: {_tls_reason(cause)}"
    if isinstance(error, OSError) and "certificate bundle" in str(error):
        return "REQUESTS_CA_BUNDLE can't be used: there is no such file"
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return "the compressed answer is damaged"
    if isinstance(cause, urllib3.exceptions.InvalidChunkLength):
        return "the connection ended without a proper HTTP answer"
    if isinstance(cause, (http.client.IncompleteRead, urllib3.exceptions.IncompleteRead)):
        # urllib3 reports counts here, http.client the bytes themselves.
        got = cause.partial if isinstance(cause.partial, int) else len(cause.partial)
        return f"the connection ended early, after {got} bytes"
    if isinstance(cause, (http.client.HTTPException, urllib3.exceptions.ProtocolError)):
        return "the connection ended without a proper HTTP answer"
    if isinstance(cause, ValueError):
        return "not an address that can be opened"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return f"the request failed ({type(cause).__name__})"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = error.verify_message.rstrip(".")
        if error.verify_code not in UNKNOWN_CA:
            return words
        return (
            f"the server's certificate isn't trusted ({words}); for a CA of your own set REQUESTS_CA_BUNDLE as "
            "docs/deployment.md says"
        )
    if error.reason in NO_TLS:
        return "the server doesn't speak TLS on this port; use http:// in place of https://, or its port for TLS"
    words = (error.reason or type(error).__name__).replace("_", " ").lower()
    return f"REQUESTS_CA_BUNDLE can't be used: {words}" if error.library in ("X509", "PEM") else words


def localhost_hint(error: BaseException, url: str) -> str:
    """Return a hint for a container whose own localhost refuses the connection, else an empty string."""
    refused = isinstance(root_cause(error), ConnectionRefusedError)
    return "; in a container, localhost is the container itself" if refused and origin(url)[1] in LOOPBACK else ""


def root_cause(error: BaseException) -> BaseException:
    """Return the error underneath the layers that requests and urllib3 wrap around it."""
    while True:
        wrapped = [item for item in (getattr(error, "reason", None), *error.args) if isinstance(item, BaseException)]
        if wrapped:
            error = wrapped[0]
        elif isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(error.__cause__, OSError):
            return error.__cause__
        else:
            return error
