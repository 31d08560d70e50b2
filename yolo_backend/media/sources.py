"""Locates the file of a task: on disk, on a server, or in the task's data itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from yolo_backend.errors import MediaError
from yolo_backend.http.client import canonical, redacted, shortened

if TYPE_CHECKING:
    from yolo_backend.label_studio.client import LabelStudio

CLOUD_SCHEMES = frozenset({"s3", "gs", "azure-blob"})
LOCAL_FILES = "/data/local-files/"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?(//)?[^/?#]*@")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that is fetched by HTTP.

    Attributes:
        url: Its address.
        name: For messages: without query and credentials.
        written: The address as the task has it, to tell characters that mean something else in addresses.
        is_path: Whether the task names no server, so that Label Studio's is asked.
    """

    url: str = field(repr=False)
    name: str
    written: str = field(default="", repr=False)
    is_path: bool = False


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """A file under the document root of the settings.

    Attributes:
        root: The document root, absolute, all links resolved.
        parts: The names from there to the file, all links resolved.
        name: For messages.
    """

    root: Path
    parts: tuple[str, ...]
    name: str


@dataclass(frozen=True, kw_only=True)
class Inline:
    """A ``data:`` URI."""

    uri: str = field(repr=False)
    name: str


Source = Remote | OnDisk | Inline


def locate(value: object, *, task_id: object, label_studio: LabelStudio, document_root: Path | None) -> Source:
    """Return the source that ``value`` names, without opening it.

    Args:
        value: The value of an image or a video in a task's data.
        task_id: The task's id, without which cloud storage can't be opened.
        label_studio: The server of paths without a host.
        document_root: Label Studio's local-files directory, if it is mounted here.

    Raises:
        MediaError: it names nothing that may be opened.
    """
    if not isinstance(value, str):
        raise MediaError(f"the task's data holds {_kind(value)} where an address is expected")
    value = value.strip(" \t\r\n\f")  # a browser ignores them as well
    if not value:
        raise MediaError("the task's data holds an empty address")
    scheme = match[1].lower() if (match := _SCHEME.match(value)) else ""
    if scheme == "data":
        media_type = shortened(value[5:].partition(",")[0], 60)
        return Inline(uri=value, name=f"data:{media_type},… ({len(value)} characters)")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise MediaError(f"{_printable(value)}: the address holds control characters")
    if scheme in ("http", "https"):
        url = canonical(value)
        if label_studio.owns(url) and (file := _local_file(url, label_studio, document_root)):
            return file
        return Remote(url=url, name=_name(url), written=value)
    if scheme in CLOUD_SCHEMES:
        return Remote(url=label_studio.resolve_address(value, task_id=task_id), name=redacted(value))
    if len(scheme) > 1:  # one letter is a drive
        raise MediaError(f"{_printable(value)}: {scheme}: addresses are never opened")
    if value.startswith("//") or not value.startswith("/"):
        raise MediaError(
            f"{_printable(value)}: neither an http(s) address nor a path on Label Studio; "
            "paths on a disk are never opened (for local files: /data/local-files/?d=…)"
        )
    url = label_studio.address(value) if label_studio.url or not is_local_files(value) else value
    if file := _local_file(url, label_studio, document_root):
        return file
    return Remote(url=label_studio.address(value), name=_name(url), written=value, is_path=True)


def is_local_files(url: str) -> bool:
    """Tell whether an address belongs to Label Studio's local-files storages."""
    return urlsplit(url).path.endswith(LOCAL_FILES) or urlsplit(url).path.endswith(LOCAL_FILES.rstrip("/"))


def _local_path(url: str) -> str | None:
    """Return the path of ``/data/local-files/?d=…``, relative to the document root."""
    if not is_local_files(url):
        return None
    return parse_qs(urlsplit(url).query, keep_blank_values=True).get("d", [""])[-1].lstrip("/")


def _name(url: str) -> str:
    path = _local_path(url)
    # The file's name is in the query there; it says more than the address, and it is no secret.
    return redacted(url) if path is None else f"{redacted(url)} (d={shortened(path)})"


def _local_file(url: str, label_studio: LabelStudio, document_root: Path | None) -> OnDisk | None:
    """Return the mounted file of ``url``; ``None`` if it isn't there, so that Label Studio may serve it."""
    path = _local_path(url)
    if path is None:
        return None
    name = f"local file {shortened(path)}"
    if "\0" in path or ".." in re.split(r"[/\\]", path):
        raise MediaError(f"{name}: not a path under the document root")
    if document_root is None:
        return None
    try:
        root = document_root.resolve(strict=True)
        file = (root / path).resolve(strict=True)
        if file.is_relative_to(root) and file.is_file():
            return OnDisk(root=root, parts=file.relative_to(root).parts, name=name)
    except (OSError, RuntimeError, ValueError):  # links in a circle; half a surrogate pair
        pass
    return None


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (bool, int, float)):
        return f"the value {shortened(repr(value), 40)}"
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _printable(value: str) -> str:
    """Return ``value`` for a message: of any form, without a query, and without a password before an @."""
    return shortened(repr(_USER.sub(r"\1\2", value.partition("?")[0])), 100)
