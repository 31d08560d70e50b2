"""The Label Studio server: its address, its credentials, which no other server may see, and calls of its API."""

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

from yolo_backend.errors import (
    AnswerTooLargeError,
    BodyTooLargeError,
    LabelStudioAwayError,
    LabelStudioError,
    MediaError,
)
from yolo_backend.http.client import canonical, read_body, redacted, send, shortened
from yolo_backend.label_studio.credentials import ADVICE, SETUP_TOKEN, Credential, credential_for, warn_once
from yolo_backend.settings import Settings
from yolo_backend.settings.hosts import Hosts
from yolo_backend.settings.hosts import origin as origin_of

logger = logging.getLogger(__name__)

BUSY = (408, 425, 429, 502, 503, 504)
CALL_TIMEOUT = 20.0  # seconds for a call of the API


@dataclass(frozen=True, kw_only=True)
class LabelStudio:
    """One Label Studio server, as one request sees it."""

    url: str | None
    """Base address without a trailing slash, with the sub-path if it has one; ``None`` if it is unknown."""
    credential: Credential | None = field(default=None, repr=False)
    hosts: Hosts = field(default=Hosts(public=True), repr=False)
    """The servers that may be contacted: ``url`` may come from anybody who can reach this service."""
    max_answer: int = 32_000_000
    """Bytes of an answer of the API that are read."""

    @classmethod
    def from_settings(cls, settings: Settings, *, hostname: object = None, access_token: object = None) -> LabelStudio:
        """Return the server of the settings, else that of a project's last ``/setup``.

        The key of the settings is for ``LABEL_STUDIO_URL`` alone: anybody could send a hostname to ``/setup``.

        Args:
            settings: The service's settings.
            hostname: From ``/setup``; of any type, since it comes from outside.
            access_token: From ``/setup``; of any type, too.
        """
        key = settings.label_studio_api_key
        token, origin = (key.get_secret_value() if key else ""), "LABEL_STUDIO_API_KEY"
        if settings.label_studio_url is None and token:
            warn_once("LABEL_STUDIO_API_KEY is not used: it is only sent to LABEL_STUDIO_URL, which is not set")
            token = ""
        if not token:
            token, origin = (access_token if isinstance(access_token, str) else ""), SETUP_TOKEN
        url = _base_url(settings.label_studio_url or hostname)
        if url is None:
            return cls(url=None)
        credential = credential_for(token.strip(), origin, url=url, settings=settings)
        return cls(url=url, credential=credential, hosts=settings.hosts, max_answer=int(settings.max_answer_mb * 1e6))

    def owns(self, url: str) -> bool:
        """Tell whether ``url`` (absolute) is on this server: same scheme, host name and port."""
        try:
            return self.url is not None and origin_of(url) == origin_of(self.url)
        except ValueError:  # not an address
            return False

    def address(self, path: str) -> str:
        """Return the absolute address of ``path``, which starts with a slash and may hold the sub-path or not.

        Raises:
            MediaError: the server's address isn't known.
        """
        if self.url is None:
            raise MediaError(
                f"{redacted(path)} is a path on Label Studio, whose address is not known: set LABEL_STUDIO_URL"
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
            raise MediaError(f"{redacted(uri)} can only be opened for a task with an id")
        try:
            encoded = quote(base64.urlsafe_b64encode(uri.encode()).decode(), safe="")
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
            raise MediaError(
                f"{redacted(uri)}: the address holds half a surrogate pair, which is no character"
            ) from None
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
        """Return new headers instead of ``headers``, which the server refused; ``None`` if there are none.

        Raises:
            MediaError: a personal access token can't be exchanged.
        """
        if self.credential is None or "Authorization" not in headers:
            return None
        other = self.credential.authorization(refused=headers["Authorization"])
        return {"Authorization": other} if other != headers["Authorization"] else None

    def call(self, method: str, path: str, body: object = None, *, timeout: float = CALL_TIMEOUT) -> tuple[int, Any]:
        """Call Label Studio's API; return the status and the answer, decoded if it is JSON.

        Raises:
            MediaError: no answer within ``timeout`` seconds, a very large one, or no access token.
        """
        url = self.address(path)
        deadline = time.monotonic() + timeout
        headers = self.headers_for(url)
        request = partial(
            send,
            method,
            url,
            hosts=self.hosts,
            connect_timeout=CALL_TIMEOUT / 4,
            deadline=deadline,
            json=body,
            idempotent=method == "GET",
            is_label_studio=True,
        )
        response = request(headers=headers)
        if response.status_code == 401 and (renewed := self.renewed(headers)):
            response.close()
            response = request(headers=renewed)
        with response:
            content = read_body(response, max_bytes=self.max_answer, setting="MAX_ANSWER_MB")
        try:
            return response.status_code, json.loads(content)
        except (ValueError, RecursionError):
            return response.status_code, shortened(content[:10_000].decode(errors="replace"))

    def ask(self, method: str, path: str, body: object = None, *, timeout: float = CALL_TIMEOUT) -> Any:
        """Call Label Studio's API and return the answer of a successful call.

        Raises:
            LabelStudioAwayError: it can't be reached or has trouble of its own; the same call may succeed later.
            AnswerTooLargeError: it answers with more than ``max_answer``.
            LabelStudioError: it refuses.
        """
        try:
            status, answer = self.call(method, path, body, timeout=timeout)
        except BodyTooLargeError as error:
            raise AnswerTooLargeError(str(error)) from None
        except MediaError as error:
            raise LabelStudioAwayError(str(error), unreachable=True) from None
        if 200 <= status < 300:
            return answer
        if status in BUSY or status >= 500:
            raise LabelStudioAwayError(f"Label Studio answered {status}", status=status, busy=status in BUSY)
        if status in (401, 403):
            raise LabelStudioError(f"Label Studio answered {status}: {self.advice()}", status=status)
        raise LabelStudioError(f"Label Studio answered {status}: {shortened(_detail(answer))}", status=status)

    def advice(self) -> str:
        """Return what to do when this server refuses to open something."""
        if self.credential is None:
            return f"no token is set here and Label Studio sent none: {ADVICE}"
        return self.credential.advice


def _detail(answer: Any) -> str:
    """Return the message of a refusal, without Label Studio's envelope."""
    if isinstance(answer, Mapping):
        return str(answer.get("validation_errors") or answer.get("detail") or answer)
    return str(answer)


def _base_url(address: object) -> str | None:
    """Return the setting, or the hostname of ``/setup``, as a base address; ``None`` if it is none."""
    if not isinstance(address, str) or not address.strip():
        return None
    try:
        parts = urlsplit(canonical(address.strip()))
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    except MediaError as error:
        warn_once(f"Label Studio's address is not used: {error}")
        return None
