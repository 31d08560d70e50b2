"""The Label Studio server as this service knows it: its address, its credentials, and whom they may be shown to."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from yolo_backend.errors import LabelStudioAwayError, LabelStudioError, MediaError
from yolo_backend.http.client import canonical, chunks, public, send, shortened
from yolo_backend.label_studio.credentials import ADVICE, SETUP_TOKEN, Credential, credential_for, warn_once
from yolo_backend.settings import Settings
from yolo_backend.settings.hosts import Hosts, origin

logger = logging.getLogger(__name__)

BUSY = (408, 425, 429, 502, 503, 504)
CALL_TIMEOUT = 20.0  # seconds for a call of the API


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
            warn_once("LABEL_STUDIO_API_KEY is not used: it is only sent to LABEL_STUDIO_URL, which is not set")
            secret = ""
        if not secret:
            secret, said_by = (access_token if isinstance(access_token, str) else ""), SETUP_TOKEN
        url = _base_url(settings.label_studio_url or hostname)
        if url is None:
            return cls(url=None)
        credential = credential_for(secret.strip(), said_by, url=url, settings=settings)
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
        warn_once(f"Label Studio's address is not used: {error}")
        return None
