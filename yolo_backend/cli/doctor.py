"""Checks of everything that could keep the service from working."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from label_studio_ml.cache import FILE_NAME, shared_cache
from label_studio_ml.connection import REFUSED, REMEDY

from yolo_backend.errors import ConfigError, MediaError, WeightsError
from yolo_backend.http.client import redacted
from yolo_backend.inference import WeightsStore
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.private_files import make_directory
from yolo_backend.settings import Settings, load_settings
from yolo_backend.settings.spelling import misspelt

OWN_ADDRESS = "Set it to Label Studio's own address, with the sub-path if it has one."
MAX_PROJECTS = 50  # that are checked


class Verdict(Enum):
    """The result of a check."""

    GOOD = "ok"
    DOUBTFUL = "note"
    BAD = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """The finding of a check, with what to do about it."""

    verdict: Verdict
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n{'':9}{self.remedy}" if self.remedy else ""
        return f"{self.verdict.value:8} {self.text}{remedy}"


def good(text: str) -> Finding:
    return Finding(Verdict.GOOD, text)


def note(text: str, remedy: str = "") -> Finding:
    return Finding(Verdict.DOUBTFUL, text, remedy)


def bad(text: str, remedy: str) -> Finding:
    return Finding(Verdict.BAD, text, remedy)


def examine() -> Iterator[Finding]:
    """Check the settings, the directories, the weights, and Label Studio, as far as each can be reached.

    A remedy of several findings is shown with the first of them only.
    """
    shown: set[str] = set()
    for finding in _examine():
        yield replace(finding, remedy="") if finding.remedy in shown else finding
        shown.add(finding.remedy)


def _examine() -> Iterator[Finding]:
    yield from map(note, misspelt(os.environ))
    try:
        settings = load_settings()
    except ConfigError as error:
        yield bad(f"settings: {error}", "Set the variable to what docs/settings.md says.")
        return
    yield good("settings: all can be used")
    yield _directory(settings.model_dir)
    yield from _refused_addresses(settings)
    yield from _weights(settings)
    yield from _label_studio(settings)


def _directory(path: Path) -> Finding:
    try:
        make_directory(path)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as error:
        return bad(
            f"MODEL_DIR: {path} can't be written: {error.strerror}",
            f"Without it the service forgets what Label Studio told it when it restarts. Give user {os.getuid()} the "
            "right to write there, or set MODEL_DIR to another directory.",
        )
    return good(f"MODEL_DIR: {path} can be written")


def _refused_addresses(settings: Settings) -> Iterator[Finding]:
    """Whether somebody tried to take a project over, or Label Studio has moved."""
    if not (settings.model_dir / FILE_NAME).is_file():
        return
    for project, host in shared_cache(settings.model_dir).by_project(REFUSED).items():
        if host:
            yield bad(
                f"project {project.partition('.')[0]}: a /setup brought {redacted(host)} as Label Studio's address, or another "
                "token, and was refused",
                REMEDY + ".",
            )


def _weights(settings: Settings) -> Iterator[Finding]:
    if not settings.model_root.is_dir():
        yield bad(
            f"MODEL_ROOT: there is no directory {settings.model_root}",
            "Mount your weights there, or set MODEL_ROOT to where they are. The bundled ones can be used all the same.",
        )
    store = WeightsStore(settings)
    names = store.available()
    yield (
        good(f"weights that are there: {', '.join(names)}")
        if names
        else bad("no weights at all", f"Put .pt files into {settings.model_root}.")
    )
    missing = []
    for task in ("detect", "segment", "pose", "obb", "classify"):
        variable, name = f"DEFAULT_{task.upper()}_MODEL", getattr(settings, f"default_{task}_model")
        try:
            path = store.find(name)
        except WeightsError as error:
            yield bad(f"{variable}: {error}", "Set it to the name of a file.")
            continue
        if path is None:
            missing.append(f"{variable} ({name})")
    if missing:
        yield note(
            f"not there: {', '.join(missing)}",
            "Official weights are fetched when they are first needed, where there is a network; a labeling config with "
            "model_path needs none of them."
            if settings.allow_downloads
            else "ALLOW_DOWNLOADS is false: put the files there, or set these variables to others that are.",
        )


def _label_studio(settings: Settings) -> Iterator[Finding]:
    label_studio = LabelStudio.from_settings(settings)
    if label_studio.url is None:
        yield note(
            "LABEL_STUDIO_URL is not set: the address that Label Studio sends when it connects is used, as far as "
            f"MEDIA_HOSTS={settings.media_hosts} allows it",
            "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to let this command look further.",
        )
        return
    try:
        status, answer = label_studio.call("GET", "/api/version")
    except MediaError as error:
        yield bad(
            f"Label Studio: {error}",
            "Set LABEL_STUDIO_URL to the address at which this machine (or container) reaches Label Studio.",
        )
        return
    if status != 200 or not isinstance(answer, Mapping):
        yield bad(f"LABEL_STUDIO_URL: {redacted(label_studio.url)} answers {status} to /api/version", OWN_ADDRESS)
        return
    yield good(f"Label Studio {answer.get('release', '')} answers at {redacted(label_studio.url)}")
    if label_studio.credential is None and settings.label_studio_api_key is not None:
        yield bad(
            "LABEL_STUDIO_API_KEY holds characters that no token has",
            "Copy the token alone, without spaces and quotes.",
        )
        return
    if label_studio.credential is None:
        yield bad("LABEL_STUDIO_API_KEY is not set", f"Uploads can't be opened: {label_studio.advice()}.")
        return
    status, answer = label_studio.call("GET", "/api/current-user/whoami")
    if status != 200 or not isinstance(answer, Mapping):
        if status in (401, 403):
            yield bad(f"LABEL_STUDIO_API_KEY: Label Studio answers {status}", f"{label_studio.advice()}.")
        else:
            yield bad(f"LABEL_STUDIO_URL: Label Studio answers {status} to /api/current-user/whoami", OWN_ADDRESS)
        return
    yield good(f"LABEL_STUDIO_API_KEY is that of {answer.get('email') or answer.get('username')}")
    projects = _listed(label_studio, f"/api/projects?page_size={MAX_PROJECTS}", "results")
    yield from _connections(label_studio, projects, settings)
    yield _upload(label_studio, projects, settings)


def _connections(label_studio: LabelStudio, projects: list[Mapping[str, Any]], settings: Settings) -> Iterator[Finding]:
    """Check that Label Studio reaches this service: it keeps the result of its last health check of each backend."""
    backends = [
        (project, backend)
        for project in projects
        for backend in _listed(label_studio, f"/api/ml?project={project.get('id')}")
    ]
    if not backends:
        yield note(
            "no project of this user has an ML backend",
            f"Connect one in a project's Settings > Model, with the address at which Label Studio reaches port "
            f"{settings.port} of this machine or container.",
        )
    for project, backend in backends:
        name = f"project {project.get('id')} ({project.get('title')}): the backend {redacted(str(backend.get('url')))}"
        if backend.get("state") == "CO":
            yield good(f"{name} is connected")
        else:
            reason = " ".join(str(backend.get("error_message") or "").split())[-200:]
            yield bad(
                f"{name} can't be reached by Label Studio{f': {reason}' if reason else ''}",
                "Is it running, and is this its address as Label Studio's machine or container sees it (localhost is "
                "Label Studio itself)? Does it want the user and password of BASIC_AUTH_USER and BASIC_AUTH_PASS? An "
                "address of a private network needs LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and "
                "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false there.",
            )


def _upload(label_studio: LabelStudio, projects: list[Mapping[str, Any]], settings: Settings) -> Finding:
    """Check that an uploaded file can be opened."""
    for project in projects:
        tasks = _listed(label_studio, f"/api/tasks?project={project.get('id')}&page_size=20&fields=all", "tasks")
        for task in tasks:
            for value in (task.get("data") or {}).values():
                if isinstance(value, str) and "/data/upload/" in value:
                    try:
                        with MediaLoader(settings).local_file(value, task_id=task.get("id"), label_studio=label_studio):
                            return good(f"an upload can be opened: task {task.get('id')}, {redacted(value)}")
                    except MediaError as error:
                        return bad(f"an upload can't be opened: task {task.get('id')}: {error}", "See what it says.")
    return note("no uploaded file was found to try")


def _listed(label_studio: LabelStudio, path: str, key: str | None = None) -> list[Mapping[str, Any]]:
    try:
        status, answer = label_studio.call("GET", path)
    except MediaError:
        return []
    items = answer.get(key) if key and isinstance(answer, Mapping) else answer
    return [item for item in items if isinstance(item, Mapping)] if status == 200 and isinstance(items, list) else []
