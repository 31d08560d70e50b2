"""Connections to checked addresses, whose reads end at the deadline of their request."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import select_proxy

from yolo_backend.errors import MediaError
from yolo_backend.http.allowlist import addresses, check
from yolo_backend.settings.hosts import DEFAULT_PORTS, Hosts, Origin

CONNECTIONS_PER_HOST = 64
current_request = threading.local()
"""The deadline, allowed hosts and origin of the request that this thread is sending, and whether that is Label Studio."""


class NoAuth(AuthBase):
    """Sends no credentials. Without any ``auth``, requests would look for some in the user's .netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave the request as it is."""
        return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leave redirects to the caller: requests would read the whole body and prepare the next request in any case."""


@lru_cache(maxsize=16)
def session_for(hosts: Hosts) -> requests.Session:
    """Return the session with the connections that were checked for ``hosts``; a service has one."""
    session = _Session()
    # The limit on the size of an answer is for its real size, not the compressed one.
    session.headers.update({"User-Agent": "yolo-backend", "Accept": "*/*", "Accept-Encoding": "identity"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # shared by all projects: keeps no cookies
    for scheme in DEFAULT_PORTS:
        session.mount(f"{scheme}://", _Adapter(pool_connections=32, pool_maxsize=CONNECTIONS_PER_HOST))
    return session


class _TimedReader(io.RawIOBase):
    """Reads a socket until a deadline; the timeout of the socket itself restarts with every byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedFiles:
    """Replaces a socket when ``http.client`` makes the file from which it reads headers and body."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection, current_request.deadline), buffer_size=64 * 1024)


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_TimedFiles(sock), *args, **kwargs)  # type: ignore[arg-type]  # no more of it is used


def _check(address: str) -> None:
    request = current_request
    check(request.hosts, request.origin, address, is_label_studio=request.is_label_studio)


def _connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    """Connect to the first address of a server that is allowed and answers, within the deadline of the request."""
    host, port = connection._dns_host, connection.port
    try:
        resolved = addresses(host, port)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(host, connection, error) from error
    refusal: MediaError | None = None
    failure: Exception | None = None
    for address in resolved:
        try:
            # A proxy was named by the operator; the adapter checks the server behind it.
            if connection.proxy is None:
                _check(address)
            remaining = current_request.deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            return urllib3.util.connection.create_connection(
                (address, port),
                min(connection.timeout or remaining, remaining),
                connection.source_address,
                connection.socket_options,
            )
        except MediaError as error:
            refusal = error
        except TimeoutError as error:
            failure = urllib3.exceptions.ConnectTimeoutError(connection, "timed out")
            failure.__cause__ = error
        except OSError as error:
            failure = urllib3.exceptions.NewConnectionError(connection, str(error))
            failure.__cause__ = error
    raise failure or refusal or urllib3.exceptions.NewConnectionError(connection, "no address")


class _CheckedHTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _TimedResponse
    _new_conn = _connect


class _CheckedHTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _TimedResponse
    _new_conn = _connect


class _CheckedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection


_POOLS = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}


class _Adapter(HTTPAdapter):
    """Opens connections to checked addresses whose reads keep to the deadline of the request, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        if not isinstance(manager, urllib3.ProxyManager):
            return manager
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """Check the server behind a proxy here, since the proxy makes the connection by itself."""
        if select_proxy(request.url, proxies):
            _check_behind_proxy(current_request.hosts, current_request.origin)
        return super().get_connection_with_tls_context(request, verify, proxies, cert)


def _check_behind_proxy(hosts: Hosts, origin: Origin) -> None:
    if hosts.vouch_for(origin):
        return
    _, host, port = origin
    try:
        resolved = addresses(host, port)
    except OSError:
        raise MediaError(
            f"the proxy would connect to {host}, whose address can't be checked here: add {host} to MEDIA_HOSTS"
        ) from None
    for address in resolved:
        _check(address)
