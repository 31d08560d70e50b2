"""Credentials for a Label Studio server: tokens, and the access tokens that personal ones are exchanged for."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache

from cachetools import LRUCache, cached
from label_studio_ml.tokens import token_claims

from yolo_backend.errors import MediaError
from yolo_backend.http.client import canonical, chunks, redacted, send
from yolo_backend.settings import Settings
from yolo_backend.settings.hosts import Hosts

logger = logging.getLogger(__name__)
SETUP_TOKEN = "the token that Label Studio sent when it connected"
MAX_TOKENS = 256  # personal access tokens that are remembered; one per user who connects a project
MAX_ANSWER = 64 * 1024  # bytes
RETRY_AFTER = 10.0  # seconds for which a failed exchange isn't tried again, so that a thousand tasks don't queue for it
ADVICE = (
    "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to Label Studio's address and a personal access token "
    "(Account & Settings > Personal Access Token)"
)


@dataclass(frozen=True, kw_only=True)
class Credential(ABC):
    """Opens files on a Label Studio server.

    Attributes:
        advice: What to do when the server refuses it.
        identity: The same for the same secret, which it doesn't tell.
    """

    advice: str
    identity: str = field(repr=False)

    @abstractmethod
    def authorization(self, *, refused: str | None = None) -> str:
        """Return the value of the ``Authorization`` header, another one than ``refused`` if there is any.

        Raises:
            MediaError: Label Studio gives no access token.
        """


@dataclass(frozen=True, kw_only=True)
class FixedToken(Credential):
    """A token that is sent unchanged."""

    header: str = field(repr=False)

    def authorization(self, *, refused: str | None = None) -> str:
        """See ``Credential``; never another one."""
        return self.header


@dataclass(frozen=True, kw_only=True)
class PersonalAccessToken(Credential):
    """A personal access token: never sent with requests, but exchanged for access tokens that last a few minutes."""

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
            started = time.monotonic()
            try:
                self._access = self._request(connect_timeout=connect_timeout, deadline=started + timeout)
            except MediaError as error:
                self._access, self._failure, self._retry_at = "", str(error), time.monotonic() + RETRY_AFTER
                raise
            logger.debug("new access token from %s", redacted(self._url))
            self._failure = ""
            lifetime = _lifetime(self._access)
            # A token that is sent just before it expires arrives too late.
            self._renew_at = started + lifetime - min(30.0, lifetime / 4)
            return self._access

    def _request(self, *, connect_timeout: float, deadline: float) -> str:
        address = canonical(f"{self._url}/api/token/refresh/")
        with send(
            "POST",
            address,
            hosts=self._hosts,
            headers={},
            json={"refresh": self._refresh},
            is_label_studio=True,
            connect_timeout=connect_timeout,
            deadline=deadline,
        ) as response:
            if response.is_redirect:
                raise MediaError(f"{redacted(address)} redirects: set LABEL_STUDIO_URL to the address that it leads to")
            if response.status_code in (400, 401, 403):
                raise MediaError(
                    f"{redacted(address)}: {response.status_code}: Label Studio refuses the personal access token "
                    "(expired, revoked or not its own): create another one under Account & Settings "
                    "and set LABEL_STUDIO_API_KEY to it"
                )
            if response.status_code != 200:
                raise MediaError(
                    f"{redacted(address)}: {response.status_code} {response.reason}: no access token; "
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
        if not isinstance(access, str) or not _is_sendable(access):
            raise MediaError(f"{redacted(address)}: no access token in the answer; is LABEL_STUDIO_URL Label Studio's?")
        return access


@cached(LRUCache(MAX_TOKENS), lock=threading.Lock())
def _exchange_for(url: str, refresh: str, hosts: Hosts) -> _Exchange:
    return _Exchange(url, refresh, hosts)


def credential_for(token: str, origin: str, *, url: str, settings: Settings) -> Credential | None:
    """Return the credential that a token is; None for none, and for text that is no token.

    Args:
        token: As it was configured, or sent by Label Studio.
        origin: Where it comes from, for messages.
        url: Of the Label Studio server.
        settings: The service's settings.
    """
    if not token:
        return None
    if not _is_sendable(token):
        warn_once(f"{origin} is not used: it holds characters that no token has")
        return None
    identity = hashlib.sha256(token.encode()).hexdigest()
    claims = token_claims(token)
    if claims is None:
        return FixedToken(
            identity=identity,
            header=f"Token {token}",
            advice=f"{origin} was refused; legacy tokens are disabled by default in a new Label Studio: {ADVICE}",
        )
    if claims.get("token_type") == "access":
        return FixedToken(
            identity=identity,
            header=f"Bearer {token}",
            advice=f"{origin} is an access token, which lasts a few minutes: {ADVICE}",
        )
    return PersonalAccessToken(
        identity=identity,
        advice=f"{origin} is a personal access token that works, but its user may not open this",
        exchange=_exchange_for(url, token, settings.hosts),
        connect_timeout=settings.connect_timeout,
        timeout=settings.download_timeout,
    )


def _is_sendable(token: str) -> bool:
    # Files of variables keep quotes that a shell would remove.
    return token.isascii() and token.isprintable() and not {" ", "'", '"'}.intersection(token)


def _lifetime(access: str) -> float:
    """Return the seconds that a new access token lasts, counted from its own ``iat``, since clocks differ."""
    claims = token_claims(access) or {}
    expires, issued = claims.get("exp"), claims.get("iat", time.time())
    if not isinstance(expires, (int, float)) or not isinstance(issued, (int, float)):
        return 60.0
    return max(0.0, expires - issued)


@lru_cache(maxsize=64)
def warn_once(text: str) -> None:
    """Log a warning, unless it was logged lately."""
    logger.warning("%s", text)
