"""One HTTP request to another server, under a deadline, with errors that are safe to print.

Everything that this service sends to another server goes through ``send``, and the address of every connection that is
made for it through ``Hosts.check``: after the name was resolved, so that it is the address that is really used.
"""

from __future__ import annotations

import http.client
import io
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url, select_proxy

from yolo_backend.errors import MediaError
from yolo_backend.hosts import DEFAULT_PORTS, Hosts, addresses, origin

CHUNK = 256 * 1024  # bytes
CONNECTIONS_PER_HOST = 64
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
UNKNOWN_CA = frozenset({18, 19, 20, 21})  # OpenSSL's numbers of what is wrong with a certificate
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})  # where something else than TLS is answered

# They would log whole addresses, and a presigned address is a credential.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

# Of http://us/er:password@host, what follows the first slash is a path.
_PASSWORD = re.compile("/[^/]*:[^/]*@")

_request = threading.local()


def canonical(url: str) -> str:
    """Return ``url`` as it will be sent, quoted and normalised, so that checks see what the connection sees.

    Raises:
        MediaError: it is no http or https address.
    """
    prepared = requests.PreparedRequest()
    try:
        if urlsplit(url).scheme.lower() not in DEFAULT_PORTS or "\\" in urlsplit(url).netloc:
            raise ValueError
        prepared.prepare_url(url, None)
        assert prepared.url is not None
        if not urlsplit(prepared.url).hostname:
            raise ValueError
        origin(prepared.url)
    except ValueError:  # what requests and urllib3 raise here are ValueErrors too; their text would hold the query
        raise MediaError(f"{public(url)}: not an http(s) address that can be opened") from None
    return prepared.url


def public(url: str) -> str:
    """Return ``url`` as it may be shown: without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # of http://user:pa/ss@host the password would stay
    except ValueError:
        return "a malformed address"
    path = _PASSWORD.sub("/", parts.path)
    return shortened(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", "")))


def shortened(text: str, limit: int = 200) -> str:
    """Return ``text`` on one line and at most ``limit`` characters long."""
    text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= limit else f"{text[: limit - 30]}…{text[-29:]}"


def send(
    method: str,
    url: str,
    *,
    hosts: Hosts,
    headers: Mapping[str, str],
    connect_timeout: float,
    deadline: float,
    json: object = None,
    once: bool = False,
) -> requests.Response:
    """Send one request and return the response with its body unread; redirects are left to the caller.

    Args:
        method: GET or POST.
        url: As ``canonical`` returns it. A user name and password in it are sent by basic auth, unless ``headers``
            hold an ``Authorization``.
        hosts: The servers that may be asked.
        headers: The request's own headers.
        connect_timeout: Seconds for the connection.
        deadline: ``time.monotonic()`` by which the whole answer, headers and body, must be here.
        json: What to send as the body.
        once: Don't try again on a kept connection that broke: the request might be carried out twice.

    Raises:
        MediaError: no answer, or the server may not be asked; the reason in words.
    """
    user, password = get_auth_from_url(url)
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    auth: AuthBase = _NoAuth()
    if (user or password) and "Authorization" not in headers:
        auth = HTTPBasicAuth(user.encode(), password.encode())
    for last_try in (True,) if once else (False, True):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise MediaError(f"{public(url)}: took longer than DOWNLOAD_TIMEOUT allows")
        _request.deadline, _request.hosts, _request.origin = deadline, hosts, origin(bare)
        try:
            return _session(hosts).request(
                method,
                bare,
                headers=dict(headers),
                json=json,
                auth=auth,
                timeout=(min(connect_timeout, remaining), remaining),
                allow_redirects=False,
                stream=True,
            )
        except MediaError as error:
            raise MediaError(f"{public(url)}: {error}") from None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:  # requests' own are OSErrors
            # A server may close a kept connection at the moment that it is used again; that is no failure.
            dropped = isinstance(_cause(error), (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected))
            if last_try or not dropped:
                raise MediaError(f"{public(url)}: {reason(error)}{_hint(error, bare)}") from None
    raise AssertionError("unreachable")


def chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of ``response`` as it arrives.

    Raises:
        MediaError: it ends too early or takes longer than the deadline given to ``send``.
    """
    try:
        yield from response.iter_content(CHUNK)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise MediaError(f"{public(response.url)}: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """Say why a request failed, without the address: the text of the exception holds its query."""
    cause = _cause(error)
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


def _hint(error: BaseException, url: str) -> str:
    refused = isinstance(_cause(error), ConnectionRefusedError)
    return "; in a container, localhost is the container itself" if refused and origin(url)[1] in LOOPBACK else ""


def _cause(error: BaseException) -> BaseException:
    """Return the error underneath the layers that requests and urllib3 wrap around it."""
    while True:
        wrapped = [item for item in (getattr(error, "reason", None), *error.args) if isinstance(item, BaseException)]
        if wrapped:
            error = wrapped[0]
        elif isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(error.__cause__, OSError):
            return error.__cause__
        else:
            return error


class _NoAuth(AuthBase):
    """Without an ``auth``, requests would look for credentials in the user's .netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Redirects are the caller's: requests would read the whole body and prepare the next request all the same."""


@lru_cache(maxsize=16)
def _session(hosts: Hosts) -> requests.Session:
    """Return the session whose connections were all made to ``hosts``; a service has one."""
    session = _Session()
    # Compressed answers would make the size limit a limit on something else.
    session.headers.update({"User-Agent": "yolo-backend", "Accept": "*/*", "Accept-Encoding": "identity"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # shared by all projects: remembers nothing
    for scheme in DEFAULT_PORTS:
        session.mount(f"{scheme}://", _Adapter(pool_connections=32, pool_maxsize=CONNECTIONS_PER_HOST))
    return session


class _TimedReader(io.RawIOBase):
    """Reads a socket until a deadline: the timeout of the socket itself starts anew with every byte that arrives."""

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
    """Stands for a socket where ``http.client`` makes the file that it reads headers and body from."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection, _request.deadline), buffer_size=64 * 1024)


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_TimedFiles(sock), *args, **kwargs)  # type: ignore[arg-type]  # no more of it is used


def _connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
    """Connect to the first address of a server that may be asked and answers, within the deadline of the request."""
    host, port = connection._dns_host, connection.port
    try:
        found = addresses(host, port)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(host, connection, error) from error
    refusal: MediaError | None = None
    failure: Exception | None = None
    for address in found:
        try:
            # A proxy was named by the operator; what it is asked for is checked by the adapter.
            if connection.proxy is None:
                _request.hosts.check(_request.origin, address)
            remaining = _request.deadline - time.monotonic()
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
        """Check what a proxy is asked for here, since it makes the connection by itself."""
        if select_proxy(request.url, proxies):
            _check_for_proxy(_request.hosts, _request.origin)
        return super().get_connection_with_tls_context(request, verify, proxies, cert)


def _check_for_proxy(hosts: Hosts, asked: tuple[str, str, int]) -> None:
    if hosts.vouch_for(asked):
        return
    _, host, port = asked
    try:
        found = addresses(host, port)
    except OSError:
        raise MediaError(
            f"the proxy would connect to {host}, whose address can't be checked here: add {host} to MEDIA_HOSTS"
        ) from None
    for address in found:
        hosts.check(asked, address)
