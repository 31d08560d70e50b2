"""Fetches the files of tasks as a stream of bytes: from disk under the document root, or by HTTP."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests

from yolo_backend.errors import MediaError
from yolo_backend.http.client import CHUNK, canonical, chunks, redacted, send
from yolo_backend.media.beneath import open_beneath
from yolo_backend.media.formats import is_web_page
from yolo_backend.media.refusals import refusal, web_page
from yolo_backend.media.signed import signature
from yolo_backend.media.sources import OnDisk, Remote
from yolo_backend.settings import Settings
from yolo_backend.settings.hosts import origin

if TYPE_CHECKING:
    from yolo_backend.label_studio.client import LabelStudio

MAX_REDIRECTS = 5
START = 4096  # bytes


def stream(source: Remote | OnDisk, *, label_studio: LabelStudio, settings: Settings) -> Iterator[bytes]:
    """Yield the bytes of ``source``, part by part.

    Raises:
        MediaError: it can't be opened, is too large, or takes too long.
    """
    max_bytes = int(settings.max_download_mb * 1e6)
    parts = _from_disk(source) if isinstance(source, OnDisk) else _from_server(source, label_studio, settings)
    received = 0
    for part in parts:
        received += len(part)
        if received > max_bytes:
            raise MediaError(f"{source.name}: more than MAX_DOWNLOAD_MB allows ({settings.max_download_mb:g})")
        yield part


def _from_disk(source: OnDisk) -> Iterator[bytes]:
    try:
        with open_regular_file(source) as file:
            while part := file.read(CHUNK):
                yield part
    except OSError as error:
        raise MediaError(f"{source.name}: {(error.strerror or type(error).__name__).lower()}") from None


@contextmanager
def open_regular_file(source: OnDisk) -> Iterator[BinaryIO]:
    """Open the file, unless it or a directory on its path was replaced since the path was resolved.

    Raises:
        MediaError: it was replaced, or can't be opened.
    """
    try:
        descriptor = open_beneath(source.root, source.parts)
    except OSError as error:
        raise MediaError(f"{source.name}: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MediaError(f"{source.name}: not a regular file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


def _from_server(source: Remote, label_studio: LabelStudio, settings: Settings) -> Iterator[bytes]:
    with _answer(source, label_studio, settings) as response:
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > settings.max_download_mb * 1e6:
            raise MediaError(
                f"{source.name}: {int(length) / 1e6:.1f} MB, more than MAX_DOWNLOAD_MB allows "
                f"({settings.max_download_mb:g})"
            )
        at_start = True
        for part in chunks(response):
            if at_start and is_web_page(part):
                raise MediaError(web_page(source, response.url, label_studio))
            at_start = False
            yield part


def _answer(source: Remote, label_studio: LabelStudio, settings: Settings) -> requests.Response:
    """Follow redirects and return the answer with the file; a token never leaves Label Studio's own origin."""
    deadline = time.monotonic() + settings.download_timeout
    get = partial(send, "GET", hosts=settings.hosts, connect_timeout=settings.connect_timeout, deadline=deadline)
    url, trusted = source.url, True
    for _ in range(MAX_REDIRECTS + 1):
        # After a redirect to another server Label Studio gets no token either: that server would choose what it opens.
        trusted = trusted and label_studio.owns(url)
        # What an address is signed for opens it; storages refuse a second proof.
        headers = label_studio.headers_for(url) if trusted and signature(url) is None else {}
        # Where it leads to on its own host may be its new address, and where none is known any may be its.
        moved = label_studio.owns(source.url) and origin(url)[1] == origin(source.url)[1]
        may_be_label_studio = moved or label_studio.url is None or label_studio.owns(url)
        response = get(url, headers=headers, is_label_studio=may_be_label_studio)
        if response.status_code == 401 and (renewed := label_studio.renewed(headers)):
            response.close()
            response = get(url, headers=renewed)
        if response.is_redirect:
            response.close()
            url = _target(response, url)
            continue
        if 200 <= response.status_code < 300:
            return response
        with response:
            start = _start(response)
        raise MediaError(
            refusal(response.status_code, response.reason or "", start, source, url, label_studio, trusted=trusted)
        )
    raise MediaError(f"{source.name}: more than {MAX_REDIRECTS} redirects")


def _start(response: requests.Response) -> bytes:
    """Return the beginning of the XML in which storages say why there is no file; empty for any other answer."""
    if "xml" not in response.headers.get("Content-Type", ""):
        return b""
    with suppress(MediaError):
        for part in chunks(response):
            return part[:START]
    return b""


def _target(response: requests.Response, url: str) -> str:
    location = response.headers["Location"].encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    try:
        return canonical(target)
    except MediaError:
        scheme = urlsplit(location).scheme if target else ""
        raise MediaError(f"{redacted(url)}: redirects to {scheme or 'no'} address that can't be opened") from None
