"""HTTP requests to other servers, each under a deadline, with errors that are safe to print.

All requests of this service go through ``send``. The address of every connection is checked after its name was resolved,
so that it is the address that is really used.
"""

from __future__ import annotations

import http.client
import io
import logging
import re
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from yolo_backend.errors import BodyTooLargeError, MediaError
from yolo_backend.http.connections import NoAuth, current_request, session_for
from yolo_backend.http.failures import localhost_hint, reason, root_cause
from yolo_backend.settings.hosts import DEFAULT_PORTS, Hosts, origin

CHUNK = 256 * 1024  # bytes

# They log whole addresses, and a presigned address is a credential.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

# A password in what urlsplit takes for a path: in http://us/er:password@host it begins at the first slash.
_PASSWORD = re.compile("/[^/]*:[^/]*@")


def canonical(url: str) -> str:
    """Return ``url`` as it will be sent, quoted and normalised, so that checks and the connection see the same address.

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
        raise MediaError(f"{redacted(url)}: not an http(s) address that can be opened") from None
    return prepared.url


def redacted(url: str) -> str:
    """Return ``url`` for messages and logs: without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # not a number in http://user:pa/ss@host, whose password would stay
    except ValueError:
        return "a malformed address"
    path = _PASSWORD.sub("/", parts.path)
    return shortened(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", "")))


def shortened(text: str, limit: int = 200) -> str:
    """Return ``text`` on one line, cut to ``limit`` characters."""
    if len(text) > limit:
        text = f"{text[: limit - 30]}…{text[-29:]}"
    return "".join(character if character.isprintable() else "�" for character in text)


def send(
    method: str,
    url: str,
    *,
    hosts: Hosts,
    headers: Mapping[str, str],
    connect_timeout: float,
    deadline: float,
    json: object = None,
    idempotent: bool = True,
    is_label_studio: bool = False,
) -> requests.Response:
    """Send a request and return the response with its body unread; redirects are left to the caller.

    Args:
        method: Such as GET or POST.
        url: As ``canonical`` returns it. A user name and password in it are sent by basic auth, unless ``headers``
            have an ``Authorization``.
        hosts: The servers that may be contacted.
        headers: The request's own headers.
        connect_timeout: Seconds for the connection.
        deadline: ``time.monotonic()`` by which the whole answer, headers and body, must have arrived.
        json: The body, to be sent as JSON.
        idempotent: The request may be sent again if a kept connection breaks: it does no harm if it is carried out twice.
        is_label_studio: The server is contacted as Label Studio, which a refusal then speaks of.

    Raises:
        MediaError: no answer, or the server may not be contacted; the reason in words.
    """
    user, password = get_auth_from_url(url)
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    auth: AuthBase = NoAuth()
    if (user or password) and "Authorization" not in headers:
        auth = HTTPBasicAuth(user.encode(), password.encode())
    for is_last in (False, True) if idempotent else (True,):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise MediaError(f"{redacted(url)}: took longer than DOWNLOAD_TIMEOUT allows")
        current_request.deadline, current_request.hosts, current_request.origin = deadline, hosts, origin(bare)
        current_request.is_label_studio = is_label_studio
        try:
            return session_for(hosts).request(
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
            raise MediaError(f"{redacted(url)}: {error}") from None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:  # requests' own are OSErrors
            # A server may close a kept connection at the moment that it is used again; that is no failure.
            dropped = isinstance(
                root_cause(error), (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)
            )
            if is_last or not dropped:
                raise MediaError(f"{redacted(url)}: {reason(error)}{localhost_hint(error, bare)}") from None
    raise AssertionError("unreachable")


def chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of ``response`` as it arrives.

    Raises:
        MediaError: it ends too early or takes longer than the deadline given to ``send``.
    """
    try:
        yield from response.iter_content(CHUNK)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise MediaError(f"{redacted(response.url)}: {reason(error)}") from None


def read_body(response: requests.Response, *, max_bytes: int, setting: str) -> bytes:
    """Return the body of ``response``.

    Raises:
        BodyTooLargeError: it is larger than ``max_bytes``, the limit of a ``setting``; the rest is not read.
        MediaError: see `chunks`.
    """
    content = io.BytesIO()
    for part in chunks(response):
        content.write(part)
        if content.tell() > max_bytes:
            raise BodyTooLargeError(
                f"{redacted(response.url)}: answers with more than {setting} allows ({max_bytes / 1e6:g})"
            )
    return content.getvalue()
