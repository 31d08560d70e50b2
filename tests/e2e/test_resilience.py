"""Broken tasks, slow models, servers that go away: what a real Label Studio holds afterwards."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Asked, WebServer

from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .label_studio import LabelStudio
from .processes import ServerProcess, answers, free_port
from .service import Service

logger = logging.getLogger(__name__)

IMAGES = REPOSITORY / "examples" / "images"
PHOTO = IMAGES / "photo-03.jpg"
TIMEOUT = 10  # seconds that Label Studio waits for predictions here
DEADLINE = 7
UNBEARABLE, UNDRAWABLE = 61, 62  # pixels, see faults.py


@pytest.fixture(scope="module")
def label_studio(servers: list[ServerProcess], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A Label Studio of its own, since these tests stop it, and one that soon hangs up."""
    directory = tmp_path_factory.mktemp("label-studio")
    with LabelStudio(directory, {"ML_TIMEOUT_PREDICT": str(TIMEOUT)}) as running:
        servers.append(running.server)
        yield running
        servers.remove(running.server)


@pytest.fixture
def start(start_service: StartService, label_studio: LabelStudio) -> Callable[..., Service]:
    """Starts a service that answers in time for this Label Studio, and may write to it unless told otherwise."""

    def started(*, key: bool = True, seconds_per_picture: float = 0, **settings: str) -> Service:
        known = {
            "LABEL_STUDIO_URL": label_studio.url,
            "LOCAL_FILES_DOCUMENT_ROOT": str(IMAGES),
            "PREDICT_DEADLINE": str(DEADLINE),
            "BATCH_SIZE": "4",
            "FAULTS_SECONDS": str(seconds_per_picture),
        }
        if key:
            known["LABEL_STUDIO_API_KEY"] = label_studio.personal_access_token
        return start_service(app="tests.e2e.faults:app", **{**known, **settings})

    return started


def project_of(
    label_studio: LabelStudio, service: Service, tasks: int, *, config: str | None = None
) -> tuple[int, list[int]]:
    """A project with so many tasks, each of its own data, connected to the service, which has loaded the weights."""
    project = label_studio.create_project(config or codes_config())
    data = [{"image": f"/data/local-files/?d={PHOTO.name}", "number": number} for number in range(tasks)]
    ids = label_studio.import_tasks(project, data)
    label_studio.connect(project, service.url)
    until(lambda: "Loaded demo-" in service.log)
    return project, ids


def counts(label_studio: LabelStudio, project: int) -> list[int]:
    """How many predictions each task has."""
    return [len(predictions) for predictions in label_studio.predictions(project).values()]


def until(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come about"
        time.sleep(0.2)


def until_nothing_is_left(service: Service) -> None:
    """Wait for the end of the work in the background."""
    until(lambda: not any(service.status()[left] for left in ("tasks_running_or_queued", "predictions_to_post")))


@contextmanager
def clicked(label_studio: LabelStudio, project: int) -> Iterator[Future[None]]:
    """Retrieve Predictions, while something else happens."""
    with ThreadPoolExecutor(1) as browser:
        yield browser.submit(label_studio.retrieve_predictions, project)


def click_for_the_rest(label_studio: LabelStudio, project: int) -> None:
    """Retrieve Predictions until every task has one."""

    def all_have_one() -> bool:
        label_studio.retrieve_predictions(project)
        return all(counts(label_studio, project))

    until(all_have_one)


# Broken tasks


def _png(width: int, height: int) -> bytes:
    """A PNG that says it is of this size, and holds its first rows."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = header, b"IDAT" + zlib.compress(bytes(1000 * width)), b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def _silence(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    time.sleep(8)


def _drop(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def _picture(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 40)).save(file, "PNG")
    return file.getvalue()


def broken_tasks(web: WebServer) -> list[tuple[dict[str, Any], str]]:
    """The data of tasks that fail, and what is said of each."""
    web.reply("/missing.jpg", status=404)
    web.reply("/forbidden.jpg", status=401)
    web.reply("/failing.jpg", status=500)
    web.reply("/page.jpg", b"<!doctype html><html><body>Sign in</body></html>", Content_Type="text/html")
    web.reply("/empty.jpg", b"")
    web.reply("/cut.jpg", PHOTO.read_bytes()[:600])
    web.reply("/huge.png", _png(50_000, 50_000))
    web.reply("/loop.jpg", status=302, Location="/loop.jpg")
    web.reply("/unbearable.png", _picture(UNBEARABLE))
    web.reply("/undrawable.png", _picture(UNDRAWABLE))
    web.routes["/silent.jpg"] = _silence
    web.routes["/dropped.jpg"] = _drop
    addresses = {
        f"{web.url}/missing.jpg": "404",
        f"{web.url}/forbidden.jpg?token=secret": "401",
        f"{web.url}/failing.jpg": "500",
        f"{web.url}/silent.jpg": "DOWNLOAD_TIMEOUT",
        f"{web.url}/page.jpg": "web page",
        f"{web.url}/empty.jpg": "empty",
        f"{web.url}/cut.jpg": "damaged",
        f"{web.url}/huge.png": "MAX_IMAGE_MEGAPIXELS",
        f"{web.url}/undrawable.png": "no such shape",
        f"{web.url}/unbearable.png": "out of memory",
        f"{web.url}/loop.jpg": "redirects",
        f"{web.url}/dropped.jpg": "connection",
        f"http://127.0.0.1:{free_port()}/a.jpg": "refused",
        "http://no-such-host.invalid/a.jpg": "unknown here",
        "ftp://127.0.0.1/a.jpg": "ftp",
        "/data/local-files/?d=no-such-file.jpg": "403",
        "/data/local-files/?d=../../pyproject.toml": "document root",
        "data:image/png;base64,AAAA": "unknown kind",
    }
    return [
        *(({"image": address}, reason) for address, reason in addresses.items()),
        ({}, "no 'image'"),
        ({"image": [PHOTO.name]}, "neither an http(s) address"),
    ]


def test_broken_tasks_harm_no_other(label_studio: LabelStudio, start: Callable[..., Service], web: WebServer) -> None:
    service = start(
        DOWNLOAD_TIMEOUT="2",
        CONNECT_TIMEOUT="2",
        MEDIA_HOSTS="127.0.0.0/8",
        BASIC_AUTH_USER="annotator",
        BASIC_AUTH_PASS="right",
    )
    broken = broken_tasks(web)
    assert len(broken) == 20
    # Label Studio takes only what the config shows, but the config may change once the tasks are there.
    project = label_studio.create_project('<View><Text name="text" value="$name"/></View>')
    data: list[dict[str, Any]] = [
        {"image": f"/data/local-files/?d={PHOTO.name}", "name": f"{number}"} for number in range(180)
    ]
    for place, (one, reason) in enumerate(broken):
        data.insert(place * 10, {**one, "name": "broken", "reason": reason})
    ids = label_studio.import_tasks(project, data)
    expected = {task: one["reason"] for task, one in zip(ids, data, strict=True) if "reason" in one}
    label_studio.change_config(project, codes_config())
    label_studio.connect(project, service.url, basic_auth=service.basic_auth)
    label_studio.retrieve_predictions(project)
    until_nothing_is_left(service)
    saved = label_studio.predictions(project)
    assert {task for task in ids if not saved[task]} == set(expected)
    assert {len(saved[task]) for task in ids if task not in expected} == {1}
    reasons = {failure["task"]: failure["reason"] for failure in service.status()["failed_tasks"]}
    assert set(reasons) == set(expected)
    for task, words in expected.items():
        assert words.lower() in reasons[task].lower()
        assert service.log.count(f"Task {task} left out: {reasons[task]}") == 1
        assert service.log.count(f"ask {task} ") == 1, "one warning"
    assert "secret" not in service.log


# Long batches


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_a_batch_that_takes_longer_than_label_studio_waits(
    label_studio: LabelStudio, start: Callable[..., Service], key: bool
) -> None:
    service = start(key=key, seconds_per_picture=0.2)
    project, tasks = project_of(label_studio, service, 300)
    with clicked(label_studio, project) as first:
        time.sleep(2)
        label_studio.retrieve_predictions(project)
        first.result(60)
    assert 0 < sum(counts(label_studio, project)) < len(tasks)
    # Now the background is at work.
    label_studio.retrieve_predictions(project)
    assert sum(counts(label_studio, project)) < len(tasks)
    until_nothing_is_left(service)
    if not key:
        label_studio.retrieve_predictions(project)
    assert counts(label_studio, project) == [1] * len(tasks)
    status = service.status()
    assert status["tasks_failed"] == 0
    assert (status["predictions_posted"] > 0) == key


def test_who_hangs_up_before_the_deadline_loses_nothing(
    label_studio: LabelStudio, start: Callable[..., Service]
) -> None:
    service = start(PREDICT_DEADLINE="90", seconds_per_picture=0.2)
    project, tasks = project_of(label_studio, service, 80)
    label_studio.retrieve_predictions(project)
    assert sum(counts(label_studio, project)) < len(tasks)
    until_nothing_is_left(service)
    assert counts(label_studio, project) == [1] * len(tasks)


def test_label_studio_away_while_predictions_are_posted(
    label_studio: LabelStudio, start: Callable[..., Service]
) -> None:
    service = start(seconds_per_picture=0.2)
    project, tasks = project_of(label_studio, service, 60)
    label_studio.retrieve_predictions(project)
    with label_studio.stopped():
        until(lambda: "Posting to Label Studio failed" in service.log)
        until(lambda: service.status()["tasks_running_or_queued"] == 0)
        assert service.status()["predictions_to_post"] > 0
    until_nothing_is_left(service)
    assert counts(label_studio, project) == [1] * len(tasks)


def test_tasks_that_are_deleted_while_they_are_worked_on(
    label_studio: LabelStudio, start: Callable[..., Service]
) -> None:
    service = start(seconds_per_picture=0.2)
    project, _ = project_of(label_studio, service, 60)
    other, _ = project_of(label_studio, service, 20)
    with clicked(label_studio, other):
        label_studio.retrieve_predictions(project)
    deleted = [task for task, found in label_studio.predictions(project).items() if not found][::2]
    for task in deleted:
        label_studio.call("DELETE", f"/api/tasks/{task}")
    label_studio.call("DELETE", f"/api/projects/{other}")
    until_nothing_is_left(service)
    assert counts(label_studio, project) == [1] * (60 - len(deleted))
    assert "was not posted: Label Studio answered 4" in service.log
    assert "Traceback" not in service.log


# The end of a process


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_a_killed_worker_is_replaced_and_the_next_click_does_the_rest(
    label_studio: LabelStudio, start: Callable[..., Service], key: bool
) -> None:
    service = start(key=key, seconds_per_picture=0.1)
    project, tasks = project_of(label_studio, service, 200)
    label_studio.retrieve_predictions(project)
    answered = counts(label_studio, project)
    assert 0 < sum(answered) < len(tasks)
    with clicked(label_studio, project) as click:
        time.sleep(1)
        (worker,) = service.server.children()
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: answers(f"{service.url}/health"))
        logger.info("/health answers again after %.1f s", time.monotonic() - killed)
        click.result(60)
    assert all(now >= before for now, before in zip(counts(label_studio, project), answered, strict=True))
    until(lambda: answers(f"{service.url}/ready"))
    click_for_the_rest(label_studio, project)
    until_nothing_is_left(service)
    assert counts(label_studio, project) == [1] * len(tasks)


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_a_service_that_is_stopped_answers_what_it_has(
    label_studio: LabelStudio, start: Callable[..., Service], key: bool
) -> None:
    service = start(key=key, seconds_per_picture=0.1, GRACEFUL_TIMEOUT="6")
    project, tasks = project_of(label_studio, service, 200)
    with clicked(label_studio, project) as click:
        until(lambda: service.status()["tasks_running_or_queued"] > 0)
        time.sleep(1)
        stopped = time.monotonic()
        assert service.server.stop() == 0
        logger.info("ended after %.1f s", time.monotonic() - stopped)
        click.result(60)
    assert 0 < sum(counts(label_studio, project)) < len(tasks)
    restarted = time.monotonic()
    service.start()
    logger.info("/health answers %.1f s after a start", time.monotonic() - restarted)
    click_for_the_rest(label_studio, project)
    until_nothing_is_left(service)
    assert counts(label_studio, project) == [1] * len(tasks)


# Several at once


def test_several_workers_do_no_task_twice(label_studio: LabelStudio, start: Callable[..., Service]) -> None:
    service = start(WORKERS="2", seconds_per_picture=0.2)
    project, tasks = project_of(label_studio, service, 60)
    with ThreadPoolExecutor(4) as browsers:
        for _ in range(4):
            browsers.submit(label_studio.retrieve_predictions, project)
            time.sleep(1.5)
    until(lambda: all(counts(label_studio, project)))
    # Each question is answered by either worker.
    until(lambda: all(service.status()["predictions_to_post"] == 0 for _ in range(20)))
    assert counts(label_studio, project) == [1] * len(tasks)


def test_projects_at_the_same_time_keep_apart(label_studio: LabelStudio, start: Callable[..., Service]) -> None:
    """The same pictures, tags of the same name, and room in memory for the weights of one."""
    service = start(MODEL_CACHE_SIZE="1")
    boxes = codes_config()
    outlines = (
        boxes.replace("RectangleLabels", "PolygonLabels")
        .replace("demo-detect.pt", "demo-segment.pt")
        .replace('Label value="', 'Label value="Outline of a ')
    )
    projects = [project_of(label_studio, service, 40, config=config)[0] for config in (boxes, outlines)]
    with ThreadPoolExecutor(2) as browsers:
        list(browsers.map(label_studio.retrieve_predictions, projects))
    until_nothing_is_left(service)
    for project, kind, outline, weights in zip(
        projects, ("rectanglelabels", "polygonlabels"), (False, True), ("demo-detect-", "demo-segment-"), strict=True
    ):
        for (prediction,) in label_studio.predictions(project).values():
            assert prediction["model_version"].startswith(weights)
            assert {region["type"] for region in prediction["result"]} == {kind}
            labels = [label for region in prediction["result"] for label in region["value"][kind]]
            assert {label.startswith("Outline of a ") for label in labels} == {outline}


def test_a_disk_that_is_read_only_costs_the_caches_alone(
    label_studio: LabelStudio, start: Callable[..., Service], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    service = start(MODEL_DIR=str(file / "data"))
    project, ids = project_of(label_studio, service, 3)
    label_studio.retrieve_predictions(project, ids)
    assert counts(label_studio, project) == [1, 1, 1]
