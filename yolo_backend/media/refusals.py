"""Why a server doesn't give a file, in words: what it says itself, and what a person can do about it."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yolo_backend.http.client import redacted, shortened
from yolo_backend.media.signed import Signature, signature
from yolo_backend.media.sources import Remote, is_local_files
from yolo_backend.settings.hosts import origin

if TYPE_CHECKING:
    from yolo_backend.label_studio.client import LabelStudio

_CODE = re.compile("%[2-7][0-9A-Fa-f]")  # of a character of ASCII, which may stand in a name for no other
_ENDING = re.compile(r"\.\w{2,5}$")  # of a file's name
_NOT_FOUND = (400, 404, 410, 500)
_REFUSED = (400, 401, 403, 410)
# As S3, Google, Azure, MinIO and others answer.
_XML_ERROR = re.compile(rb"<Error>.*?<Code>([^<]{1,80})</Code>(?:\s*<Message>([^<]{1,400})</Message>)?", re.DOTALL)


def refusal(
    status: int, reason: str, start: bytes, source: Remote, url: str, label_studio: LabelStudio, *, trusted: bool
) -> str:
    """Say why there is no file.

    Args:
        status: of the answer.
        reason: the same in the server's words.
        start: of the answer's body.
        source: what was to be fetched.
        url: what it led to by redirects.
        label_studio: the server that may have been asked.
        trusted: whether the server was asked with its credentials, as far as there are any.
    """
    redirected = url != source.url
    said = shortened(f"{status} {reason}".strip()) + _own_words(start)
    text = f"{source.name}: {redacted(url)}: {said}" if redirected else f"{source.name}: {said}"
    reasons = [_why(status, source, url, label_studio, trusted=trusted)]
    if status in _NOT_FOUND:
        reasons.append(_maybe_literal(source.written))
    why = "; ".join(filter(None, reasons))
    return f"{text}: {why}" if why else text


def web_page(source: Remote, url: str, label_studio: LabelStudio) -> str:
    """Say why there is a web page in the place of a file."""
    text = f"{source.name}: answered with a web page, not an image or video"
    if misread := _misread(source.written):
        return f"{text}: {misread}"
    if label_studio.owns(url) and source.is_path:
        return f"{text}; is LABEL_STUDIO_URL right, with its sub-path?"
    return text


def _why(status: int, source: Remote, url: str, label_studio: LabelStudio, *, trusted: bool) -> str | None:
    redirected = url != source.url
    signed = signature(url)
    if signed is not None and status in _REFUSED:
        return _why_signed(signed, by_label_studio=redirected and label_studio.owns(source.url))
    misread = _misread(source.written) if status in _NOT_FOUND else None
    if misread is not None:
        return misread
    if trusted and is_local_files(url) and status in (403, 404):
        if status == 403:
            return "Label Studio opens local files if it is started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true"
        return "it is not there, or in no local-files storage of a project that the token's user may see"
    if status in (401, 403):
        return _why_locked(source, url, label_studio, trusted=trusted)
    if status == 404 and trusted and not redirected:
        path = urlsplit(url).path
        if path.endswith("/resolve/"):
            return "no cloud storage of its project in Label Studio opens it"
        if "/data/upload/" in path and source.is_path:  # for a file that is gone it says 500
            return "no uploads at this address: is LABEL_STUDIO_URL right, with its sub-path?"
    if status == 500 and trusted:
        return "Label Studio answers so when the file is gone"
    return None


def _why_locked(source: Remote, url: str, label_studio: LabelStudio, *, trusted: bool) -> str | None:
    redirected = url != source.url
    if trusted:
        return label_studio.advice()
    if not redirected:
        wanted = "this server wants credentials, which are sent to LABEL_STUDIO_URL alone"
        if "/data/upload/" in urlsplit(url).path or is_local_files(url):
            return f"{wanted}; if it is Label Studio by another name, leave the server out of the address: /data/…"
        return wanted
    if label_studio.owns(source.url) and origin(url)[1] == origin(source.url)[1]:
        return "Label Studio redirects to this address: set LABEL_STUDIO_URL to it"
    return None


def _why_signed(signed: Signature, *, by_label_studio: bool) -> str:
    if by_label_studio:
        return (
            "Label Studio has signed this address, and the storage refuses it: look at the key and the region of the cloud "
            "storage in the project's settings, and at the clock of Label Studio's machine"
        )
    if signed.has_expired and signed.expires is not None:
        return (
            f"the address in the task was signed, and expired on {signed.expires:%Y-%m-%d %H:%M} UTC: import the tasks anew, "
            "or with addresses such as s3://bucket/file and a cloud storage in Label Studio, which signs at every opening"
        )
    return "the address in the task is signed, and its server refuses it: import the tasks anew with fresh addresses"


def _misread(value: str) -> str | None:
    """Say which character of an address means something else than in the name of a file, if there is one that does."""
    address, hash_sign, _ = value.partition("#")
    if hash_sign:
        return "what follows # is not sent to a server: if it is part of the file's name, write %23 for it"
    path, question_mark, query = address.partition("?")
    if is_local_files(path) and question_mark:
        if "&" in query:
            return "what follows & is not part of the path: if it is part of the file's name, write %26 for it"
        if "+" in query:
            return "+ stands for a space here: if it is part of the file's name, write %2B for it"
    elif "=" not in query and _ENDING.search(query):
        return "what follows ? is not part of the path: if it is part of the file's name, write %3F for it"
    return None


def _maybe_literal(value: str) -> str | None:
    """Say how to write a percent sign, if there are some that a file's name may have as they stand."""
    code = _CODE.search(value.partition("#")[0])
    return f"if {code[0]} is part of the file's name as it stands, write %25{code[0][1:]} for it" if code else None


def _own_words(start: bytes) -> str:
    found = _XML_ERROR.search(start)
    if found is None:
        return ""
    words = ": ".join(unescape(part.decode(errors="replace").strip()) for part in found.groups() if part)
    return f" ({shortened(words, 120)})"
