"""Addresses that carry the leave to open them, as cloud storages sign them: for a while, and without other credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

_VENDORS = re.compile(r"x-(\w+)-signature")  # amz, goog, oss, obs and others, which name their parameters alike


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The signature in an address."""

    expires: datetime | None
    """When it ends; None if that can't be told."""

    @property
    def has_expired(self) -> bool:
        """Whether it has ended by the clock of this machine."""
        return self.expires is not None and self.expires < datetime.now(timezone.utc)


def signature(url: str) -> Signature | None:
    """Return the signature in an address; None if it has none."""
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for name in query:
        if vendor := _VENDORS.fullmatch(name):
            return Signature(expires=_begin_and_length(query, f"x-{vendor[1]}-date", f"x-{vendor[1]}-expires"))
    if "signature" in query and "expires" in query:  # S3 and Google before, CloudFront, Alibaba
        return Signature(expires=_seconds(query["expires"]))
    if "sig" in query and "se" in query:  # Azure
        return Signature(expires=_iso(query["se"]))
    if "q-signature" in query:  # Tencent
        return Signature(expires=_seconds(query.get("q-sign-time", "").partition(";")[2]))
    return None


def _begin_and_length(query: Mapping[str, str], begin: str, length: str) -> datetime | None:
    try:
        begun = datetime.strptime(query.get(begin, ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return begun + timedelta(seconds=int(query.get(length, "")))
    except (ValueError, OverflowError):
        return None


def _seconds(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
