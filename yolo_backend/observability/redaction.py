"""Text without secrets.

The service's own messages are written with care; this is the safety net for those of libraries and exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
MAX_MESSAGE = 4_000  # characters
MAX_TRACEBACK = 20_000

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Garbage instead of HTTP, as gunicorn quotes it.
        (r"(Invalid request from ip=[^'\"]{0,200})['\"].*", rf"\1{HIDDEN}"),
        # Image content: data: URIs, long base64, bytes as Python shows them.
        (r"(?i)\b(data:[\w/+.-]{0,100}(?:;[\w=.-]{1,100}){0,5},)(?!…\s)[^\s'\"<>]+", rf"\1{HIDDEN}"),
        (r"[A-Za-z0-9+/_-]{200,}={0,2}", HIDDEN),
        (r"(?:\\x[0-9a-f]{2}[^\\\s]{0,8}){12,}", HIDDEN),
        # Headers, as they are sent and as a dict shows them, to the end of the line; and their values alone.
        (r"(?i)\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)\b(['\"]?\s*[:=])[^\r\n]+", rf"\1\2 {HIDDEN}"),
        (r"\b(Token|Bearer|Basic|Digest) (?=[^\s]{0,500}[\d=])[\w.~+/=:-]{8,}", rf"\1 {HIDDEN}"),
        # JSON and forms.
        (
            r"(?i)(['\"](?:password|passwd|secret|(?:access_?|refresh_?)?token|refresh|access|api_?key|login)['\"]\s*:\s*['\"])[^'\"]+",
            rf"\1{HIDDEN}",
        ),
        (r"(?i)\b(password|passwd|secret|(?:access_?)?token|api_?key)=[^\s&'\"]+", rf"\1={HIDDEN}"),
        # Addresses: user and password, query, fragment. A `?d=…` is this service's own advice.
        (r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s/'\"<>@]{1,500}@", r"\1"),
        (r"(?<=[\w/.%~-])\?(?!d=…)[^\s'\"<>)\]]+", f"?{HIDDEN}"),
        (r"(://[^\s'\"<>#]{1,500})#[^\s'\"<>]+", rf"\1#{HIDDEN}"),
        # Tokens of Label Studio: a JWT, and the older kind.
        (r"\beyJ[\w-]{5,4000}\.[\w-]{1,4000}\.[\w-]{0,4000}", HIDDEN),
        (r"\b[0-9a-fA-F]{40}\b", HIDDEN),
    )
)  # fmt: skip


class Redactor:
    """Removes secrets from text: known words, and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the known secrets, such as `Settings.secrets`."""
        # A shorter one would be found inside of other words.
        self._words = sorted((word for word in set(secrets) if len(word) >= 4), key=len, reverse=True)

    def __call__(self, text: str, limit: int = MAX_MESSAGE) -> str:
        """Return the text without secrets, cut to ``limit`` characters."""
        length = len(text)
        if length > 4 * limit:
            # Cut at a space, since half a secret doesn't look like one.
            text = text[: 4 * limit].rpartition(" ")[0] or text[: 4 * limit]
        for word in self._words:
            text = text.replace(word, HIDDEN)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text if len(text) <= limit else f"{text[:limit]}… (of {length} characters)"
