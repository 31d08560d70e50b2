"""Three copies of the service, which share nothing, behind a proxy that hands requests to one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .label_studio import LabelStudio
from .processes import answers
from .round_robin import RoundRobin
from .service import Service

IMAGES = REPOSITORY / "examples" / "images"
COPIES = 3
TASKS = 80
SECONDS = 0.1
"""That a picture takes."""


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """The copies, and the one address at which Label Studio finds them."""

    copies: list[Service]
    url: str

    def totals(self, name: str) -> list[int]:
        """A number of ``/status``, of each copy that lives."""
        return [copy.status()[name] for copy in self.copies]


@pytest.fixture
def replicas(start_service: StartService, label_studio: LabelStudio) -> Callable[..., Any]:
    """Starts the copies."""

    @contextmanager
    def running(*, seconds: float = SECONDS, **settings: str) -> Iterator[Replicas]:
        known = {
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": label_studio.personal_access_token,
            "LOCAL_FILES_DOCUMENT_ROOT": str(IMAGES),
            "BATCH_SIZE": "4",
            "FAULTS_SECONDS": str(seconds),
        }
        copies = [start_service(app="tests.e2e.faults:app", **{**known, **settings}) for _ in range(COPIES)]
        for copy in copies:
            copy.setup({"project": "1", "schema": codes_config(), "hostname": "", "access_token": ""})
        until(lambda: all("Loaded demo-" in copy.log for copy in copies))
        with RoundRobin([copy.url for copy in copies]) as proxy:
            yield Replicas(copies=copies, url=proxy.url)

    return running


def project_of(label_studio: LabelStudio, replicas: Replicas, tasks: int = TASKS) -> tuple[int, list[int]]:
    project = label_studio.create_project(codes_config())
    data = [{"image": "/data/local-files/?d=photo-03.jpg", "number": number} for number in range(tasks)]
    ids = label_studio.import_tasks(project, data)
    label_studio.connect(project, replicas.url)
    return project, ids


def counts(label_studio: LabelStudio, project: int) -> list[int]:
    return [len(predictions) for predictions in label_studio.predictions(project).values()]


def ids(label_studio: LabelStudio, project: int) -> list[list[int]]:
    return [[one["id"] for one in predictions] for predictions in label_studio.predictions(project).values()]


def until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come about"
        time.sleep(0.2)


def test_copies_agree_and_no_task_gets_two_predictions(label_studio: LabelStudio, replicas: Callable[..., Any]) -> None:
    with replicas(seconds=0) as running:
        project, tasks = project_of(label_studio, running, 30)
        # Each click goes to another copy; so does each task that is opened.
        for selected in (tasks[:10], tasks[5:15], tasks[10:]):
            label_studio.retrieve_predictions(project, selected)
            # A click is as many requests as there are copies, and all clicks would go to the same one.
            assert answers(f"{running.url}/health")
        for task in tasks[:COPIES]:
            label_studio.open_task(task)
        label_studio.retrieve_predictions(project)
        saved = label_studio.predictions(project)
        assert {len(predictions) for predictions in saved.values()} == {1}
        versions = {one["model_version"] for predictions in saved.values() for one in predictions}
        (backend,) = label_studio.backends(project)
        assert versions == {backend["model_version"]}
        schema = {"project": f"{project}.1", "schema": codes_config(), "hostname": "", "access_token": ""}
        assert versions == {copy.setup(schema)["model_version"] for copy in running.copies}
        assert all(running.totals("cached_predictions")), "a copy was never asked"


def test_a_second_click_while_another_copy_still_works_in_the_background(
    label_studio: LabelStudio, replicas: Callable[..., Any]
) -> None:
    with replicas(PREDICT_DEADLINE="3") as running:
        project, _ = project_of(label_studio, running)
        label_studio.retrieve_predictions(project)
        assert 0 < sum(counts(label_studio, project)) < TASKS
        label_studio.retrieve_predictions(project)
        until(lambda: not sum(running.totals("tasks_running_or_queued") + running.totals("predictions_to_post")))
        assert counts(label_studio, project) == [1] * TASKS


def test_a_copy_that_is_killed_costs_its_batch_one_more_click(
    label_studio: LabelStudio, replicas: Callable[..., Any]
) -> None:
    with replicas() as running, ThreadPoolExecutor(1) as browser:
        other, _ = project_of(label_studio, running, 10)
        label_studio.retrieve_predictions(other)
        before = ids(label_studio, other)
        project, _ = project_of(label_studio, running)
        click = browser.submit(label_studio.retrieve_predictions, project)
        until(lambda: any(running.totals("tasks_running_or_queued")))
        time.sleep(3)
        (busy,) = (copy for copy in running.copies if copy.status()["tasks_running_or_queued"])
        busy.server.kill()
        running.copies.remove(busy)
        click.result(60)
        assert counts(label_studio, project) == [0] * TASKS
        computed = sum(running.totals("cached_predictions"))
        label_studio.retrieve_predictions(project)
        assert counts(label_studio, project) == [1] * TASKS
        assert sum(running.totals("cached_predictions")) - computed == TASKS, "no more than the batch, once more"
        assert ids(label_studio, other) == before
