"""The Label Studio server as this service knows it: its address, its credentials, and whom they may be shown to."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from yolo_backend.errors import LabelStudioAwayError, LabelStudioError, MediaError
from yolo_backend.hosts import Hosts, origin
from yolo_backend.media.transport import canonical, chunks, public, send, shortened
from yolo_backend.settings import Settings

logger = logging.getLogger(__name__)

HANDED_OVER = "the token that Label Studio sent when it connected"
MAX_TOKENS = 256  # personal access tokens that are remembered; one per user who connects a project
MAX_ANSWER = 64 * 1024  # bytes
BUSY = (408, 425, 429, 502, 503, 504)
CALL_TIMEOUT = 20.0  # seconds for a call of the API
RETRY_AFTER = 10.0  # seconds for which a failed exchange isn't tried again, so that a thousand tasks don't queue for it
ADVICE = (
    "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to Label Studio's address and a personal access token "
    "(Account & Settings > Personal Access Token)"
)


@dataclass(frozen=True, kw_only=True)
class LabelStudio:
    """One Label Studio server, as one request sees it."""

    url: str | None
    """Base address without a trailing slash, with the sub-path if it has one; ``None`` if nobody said it."""
    credential: Credential | None = field(default=None, repr=False)
    hosts: Hosts = field(default=Hosts(public=True), repr=False)
    """The servers that may be asked: that this is Label Studio's address may be no more than what somebody said."""

    @classmethod
    def from_settings(cls, settings: Settings, *, hostname: object = None, access_token: object = None) -> LabelStudio:
        """Return the server that the settings name, else the one that connected.

        The key of the settings is for ``LABEL_STUDIO_URL`` alone: anybody could hand over a hostname.

        Args:
            settings: The service's settings.
            hostname: What ``/setup`` handed over; of any type, since it comes from outside.
            access_token: The same.
        """
        key = settings.label_studio_api_key
        secret, said_by = (key.get_secret_value() if key else ""), "LABEL_STUDIO_API_KEY"
        if settings.label_studio_url is None and secret:
            _warn_once("LABEL_STUDIO_API_KEY is not used: it is only sent to LABEL_STUDIO_URL, which is not set")
            secret = ""
        if not secret:
            secret, said_by = (access_token if isinstance(access_token, str) else ""), HANDED_OVER
        url = _base_url(settings.label_studio_url or hostname)
        if url is None:
            return cls(url=None)
        credential = _credential(secret.strip(), said_by, url=url, settings=settings)
        return cls(url=url, credential=credential, hosts=settings.hosts)

    def owns(self, url: str) -> bool:
        """Tell whether ``url`` (absolute) is on this server: same scheme, host name and port."""
        try:
            return self.url is not None and origin(url) == origin(self.url)
        except ValueError:  # no address at all
            return False

    def address(self, path: str) -> str:
        """Return the absolute address of ``path``, which starts with a slash and may hold the sub-path or not.

        Raises:
            MediaError: the server's address isn't known.
        """
        if self.url is None:
            raise MediaError(
                f"{public(path)} is a path on Label Studio, whose address is not known: set LABEL_STUDIO_URL"
            )
        parts = urlsplit(self.url)
        if parts.path and path.startswith(f"{parts.path}/"):
            path = path[len(parts.path) :]
        return canonical(self.url + path)

    def resolve_address(self, uri: str, *, task_id: object) -> str:
        """Return the address at which Label Studio opens the cloud storage ``uri`` of a task.

        Raises:
            MediaError: the server's address or the task's id isn't known.
        """
        if isinstance(task_id, bool) or not str(task_id).isdecimal():
            raise MediaError(f"{public(uri)} can only be opened for a task with an id")
        try:
            encoded = quote(base64.urlsafe_b64encode(uri.encode()).decode(), safe="")
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
            raise MediaError(f"{public(uri)}: the address holds characters that are none") from None
        return self.address(f"/tasks/{task_id}/resolve/?fileuri={encoded}")

    def headers_for(self, url: str) -> dict[str, str]:
        """Return the headers that open ``url``: an ``Authorization`` on this server, nothing elsewhere.

        Raises:
            MediaError: a personal access token can't be exchanged.
        """
        if self.credential is None or not self.owns(url):
            return {}
        return {"Authorization": self.credential.authorization()}

    def renewed(self, headers: dict[str, str]) -> dict[str, str] | None:
        """Return other headers in place of ``headers``, which the server refused; ``None`` if there are none.

        Raises:
            MediaError: a personal access token can't be exchanged.
        """
        if self.credential is None or "Authorization" not in headers:
            return None
        other = self.credential.authorization(refused=headers["Authorization"])
        return {"Authorization": other} if other != headers["Authorization"] else None

    def call(self, method: str, path: str, body: object = None, *, timeout: float = CALL_TIMEOUT) -> tuple[int, Any]:
        """Call Label Studio's API; return the status and the answer, from JSON where it is JSON.

        Raises:
            MediaError: no answer within ``timeout`` seconds, or no access token.
        """
        url = self.address(path)
        deadline = time.monotonic() + timeout
        headers = self.headers_for(url)
        ask = partial(
            send,
            method,
            url,
            hosts=self.hosts,
            connect_timeout=CALL_TIMEOUT / 4,
            deadline=deadline,
            json=body,
            once=method != "GET",
        )
        response = ask(headers=headers)
        if response.status_code == 401 and (renewed := self.renewed(headers)):
            response.close()
            response = ask(headers=renewed)
        with response:
            text = b"".join(chunks(response))
        try:
            return response.status_code, json.loads(text)
        except ValueError:
            return response.status_code, shortened(text.decode(errors="replace"))

    def ask(self, method: str, path: str, body: object = None, *, timeout: float = CALL_TIMEOUT) -> Any:
        """Call Label Studio's API, and return the answer to a call that was successful.

        Raises:
            LabelStudioAwayError: it can't be reached or has trouble of its own; later it may go well.
            LabelStudioError: it refuses.
        """
        try:
            status, answer = self.call(method, path, body, timeout=timeout)
        except MediaError as error:
            raise LabelStudioAwayError(str(error)) from None
        if 200 <= status < 300:
            return answer
        if status in BUSY or status >= 500:
            raise LabelStudioAwayError(f"Label Studio answered {status}", status=status, busy=status in BUSY)
        if status in (401, 403):
            raise LabelStudioError(f"Label Studio answered {status}: {self.advice()}", status=status)
        raise LabelStudioError(f"Label Studio answered {status}: {shortened(_detail(answer))}", status=status)

    def advice(self) -> str:
        """Say what helps when this server refused to open something."""
        if self.credential is None:
            return f"no token is set here and Label Studio sent none: {ADVICE}"
        return self.credential.advice


@dataclass(frozen=True, kw_only=True)
class Credential(ABC):
    """What opens files on a Label Studio server."""

    advice: str
    """What to do when it doesn't."""

    @abstractmethod
    def authorization(self, *, refused: str | None = None) -> str:
        """Return the value of the ``Authorization`` header, another one than ``refused`` if there is any.

        Raises:
            MediaError: Label Studio gives no access token.
        """


@dataclass(frozen=True, kw_only=True)
class FixedToken(Credential):
    """A token that is sent as it is."""

    header: str = field(repr=False)

    def authorization(self, *, refused: str | None = None) -> str:
        """See ``Credential``; never another one."""
        return self.header


@dataclass(frozen=True, kw_only=True)
class PersonalAccessToken(Credential):
    """A personal access token: not sent with requests, but exchanged for access tokens of a few minutes."""

    exchange: _Exchange = field(repr=False)
    connect_timeout: float
    timeout: float

    def authorization(self, *, refused: str | None = None) -> str:
        """See ``Credential``."""
        access = self.exchange.access_token(
            refused=(refused or "").removeprefix("Bearer "), connect_timeout=self.connect_timeout, timeout=self.timeout
        )
        return f"Bearer {access}"


class _Exchange:
    """The access token that belongs to one personal access token, shared by all threads of the process."""

    def __init__(self, url: str, refresh: str, hosts: Hosts) -> None:
        self._url = url
        self._hosts = hosts
        self._refresh = refresh
        self._lock = threading.Lock()
        self._access = ""
        self._renew_at = 0.0  # time.monotonic()
        self._failure = ""
        self._retry_at = 0.0

    def access_token(self, *, refused: str, connect_timeout: float, timeout: float) -> str:
        with self._lock:
            if self._access and self._access != refused and time.monotonic() < self._renew_at:
                return self._access
            if self._failure and time.monotonic() < self._retry_at:
                raise MediaError(self._failure)
            asked_at = time.monotonic()
            try:
                self._access = self._ask(connect_timeout=connect_timeout, deadline=asked_at + timeout)
            except MediaError as error:
                self._access, self._failure, self._retry_at = "", str(error), time.monotonic() + RETRY_AFTER
                raise
            logger.debug("new access token from %s", public(self._url))
            self._failure = ""
            lifetime = _lifetime(self._access)
            # A token that is sent off just before it expires arrives too late.
            self._renew_at = asked_at + lifetime - min(30.0, lifetime / 4)
            return self._access

    def _ask(self, *, connect_timeout: float, deadline: float) -> str:
        address = canonical(f"{self._url}/api/token/refresh/")
        with send(
            "POST",
            address,
            hosts=self._hosts,
            headers={},
            json={"refresh": self._refresh},
            connect_timeout=connect_timeout,
            deadline=deadline,
        ) as response:
            if response.is_redirect:
                raise MediaError(f"{public(address)} redirects: set LABEL_STUDIO_URL to the address that it leads to")
            if response.status_code in (400, 401, 403):
                raise MediaError(
                    f"{public(address)}: {response.status_code}: Label Studio refuses the personal access token "
                    "(expired, revoked or not its own): create another one under Account & Settings "
                    "and set LABEL_STUDIO_API_KEY to it"
                )
            if response.status_code != 200:
                raise MediaError(
                    f"{public(address)}: {response.status_code} {response.reason}: no access token; "
                    "is LABEL_STUDIO_URL Label Studio's address, with its sub-path?"
                )
            answer = b""
            for part in chunks(response):
                answer += part
                if len(answer) > MAX_ANSWER:
                    break
        try:
            access = json.loads(answer)["access"]
        except (ValueError, KeyError, TypeError):
            access = None
        if not isinstance(access, str) or not _sendable(access):
            raise MediaError(f"{public(address)}: no access token in the answer; is LABEL_STUDIO_URL Label Studio's?")
        return access


_exchanges: OrderedDict[tuple[str, str, Hosts], _Exchange] = OrderedDict()
_exchanges_lock = threading.Lock()


def _exchange_for(url: str, refresh: str, hosts: Hosts) -> _Exchange:
    with _exchanges_lock:
        exchange = _exchanges.pop((url, refresh, hosts), None) or _Exchange(url, refresh, hosts)
        _exchanges[url, refresh, hosts] = exchange
        while len(_exchanges) > MAX_TOKENS:
            _exchanges.popitem(last=False)
        return exchange


def _credential(secret: str, said_by: str, *, url: str, settings: Settings) -> Credential | None:
    if not secret:
        return None
    if not _sendable(secret):
        _warn_once(f"{said_by} is not used: it holds characters that no token has")
        return None
    claims = _claims(secret)
    if claims is None:
        return FixedToken(
            header=f"Token {secret}",
            advice=f"{said_by} was refused; legacy tokens are disabled by default in a new Label Studio: {ADVICE}",
        )
    if claims.get("token_type") == "access":
        return FixedToken(
            header=f"Bearer {secret}", advice=f"{said_by} is an access token, which lasts a few minutes: {ADVICE}"
        )
    return PersonalAccessToken(
        advice=f"{said_by} is a personal access token that works, but its user may not open this",
        exchange=_exchange_for(url, secret, settings.hosts),
        connect_timeout=settings.connect_timeout,
        timeout=settings.download_timeout,
    )


def _detail(answer: Any) -> str:
    """Return what an answer says is wrong, without what Label Studio puts around it."""
    if isinstance(answer, Mapping):
        return str(answer.get("validation_errors") or answer.get("detail") or answer)
    return str(answer)


def _base_url(address: object) -> str | None:
    """Return the setting, or what ``/setup`` handed over, as a base address; ``None`` if it is none."""
    if not isinstance(address, str) or not address.strip():
        return None
    try:
        parts = urlsplit(canonical(address.strip()))
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    except MediaError as error:
        _warn_once(f"Label Studio's address is not used: {error}")
        return None


def _sendable(token: str) -> bool:
    # Files of variables keep quotes where a shell takes them away.
    return token.isascii() and token.isprintable() and not {" ", "'", '"'}.intersection(token)


def _claims(token: str) -> dict[str, object] | None:
    """Return the claims of a JWT, unverified; ``None`` for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def _lifetime(access: str) -> float:
    """Return for how many seconds a new access token is good; counted from its own ``iat``, since clocks differ."""
    claims = _claims(access) or {}
    expires, issued = claims.get("exp"), claims.get("iat", time.time())
    if not isinstance(expires, (int, float)) or not isinstance(issued, (int, float)):
        return 60.0
    return max(0.0, expires - issued)


@lru_cache(maxsize=64)
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
