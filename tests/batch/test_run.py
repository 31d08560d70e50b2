"""A run over a project: what fails is tried again, what is computed is posted, what ends it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler

import pytest

from tests.conftest import WebServer
from tests.support.fake_label_studio import FakeLabelStudio, reply
from yolo_backend.batch import run as run_module
from yolo_backend.batch.report import reasons
from yolo_backend.batch.run import Report, Run
from yolo_backend.errors import LabelStudioError, MediaError
from yolo_backend.label_studio.project import Project, Selection
from yolo_backend.tasks import Prediction, Task

VERSION = "demo-1"
SELECTION = Selection(version=VERSION)


@pytest.fixture(autouse=True)
def _quick_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "FLUSH_SECONDS", 0.05)


@pytest.fixture
def fake(web: WebServer) -> FakeLabelStudio:
    return FakeLabelStudio(web, tasks=30)


class Workers:
    """Predicts by a function of the task's id, which may raise; counts how often each task is asked for."""

    version = VERSION
    max_concurrency = 2
    batch_size = 4

    def __init__(self, predict: Callable[[int], None] = lambda task: None) -> None:
        self.asked: Counter[int] = Counter()
        self._predict = predict

    def compute(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Prediction | Exception]]:
        for index, task in enumerate(tasks):
            self.asked[task["id"]] += 1
            try:
                self._predict(task["id"])
            except MediaError as error:
                yield index, error
            else:
                yield index, Prediction(regions=[{"id": "a/0", "score": 0.5}], model_version=VERSION)


class Progress:
    expected = finished = 0

    def start(self, tasks: int) -> None:
        self.expected = tasks

    def advance(self, tasks: int = 1) -> None:
        self.finished += tasks

    def retry(self, tasks: int) -> None:
        self.finished -= tasks


def go(fake: FakeLabelStudio, workers: Workers, progress: Progress | None = None) -> Report:
    project = Project(fake.label_studio, 1, patience=5)
    return Run(project, workers, SELECTION, progress or Progress()).go(project.task_ids(SELECTION))


def test_every_task_once(fake: FakeLabelStudio) -> None:
    progress = Progress()
    fake.save(7, VERSION)
    report = go(fake, Workers(), progress)
    assert [fake.versions(task) for task in fake.ids] == [[VERSION]] * 30
    assert (report.expected, report.saved, report.regions, report.skipped, report.failures) == (29, 29, 29, 0, {})
    assert (progress.expected, progress.finished) == (29, 29)
    assert sum(fake.posts) == 29


def test_nothing_to_do(fake: FakeLabelStudio) -> None:
    fake.ids.clear()
    assert go(fake, Workers()).saved == 0
    assert fake.posts == []


def test_tasks_that_fail_once_are_retried(fake: FakeLabelStudio) -> None:
    tried: set[int] = set()

    def fails_once(task: int) -> None:
        if task % 3 == 0 and task not in tried:
            tried.add(task)
            raise MediaError("connection refused")

    progress = Progress()
    report = go(fake, Workers(fails_once), progress)
    assert (report.saved, report.failures) == (30, {})
    assert progress.finished == 30


def test_tasks_that_always_fail_are_reported(fake: FakeLabelStudio) -> None:
    def fails(task: int) -> None:
        if task in (3, 4):
            raise MediaError(f"{task}.jpg: 404 Not Found")

    workers = Workers(fails)
    report = go(fake, workers)
    assert (report.saved, report.failures) == (28, {3: "3.jpg: 404 Not Found", 4: "4.jpg: 404 Not Found"})
    assert workers.asked == Counter(fake.ids) + Counter([3, 4])
    assert list(reasons(report.failures)) == ["     2  404 Not Found (3, 4)"]


def test_a_fault_costs_its_batch_alone(fake: FakeLabelStudio) -> None:
    def fault(task: int) -> None:
        if task == 6:
            raise RuntimeError("a fault")

    report = go(fake, Workers(fault))
    assert set(report.failures.values()) == {"RuntimeError: a fault"}
    assert 6 in report.failures
    assert set(report.failures) <= {5, 6, 7, 8}
    assert report.saved == 30 - len(report.failures)


def test_tasks_predicted_meanwhile_are_skipped(fake: FakeLabelStudio) -> None:
    project = Project(fake.label_studio, 1)
    ids = project.task_ids(SELECTION)
    fake.save(9, VERSION)
    report = Run(project, Workers(), SELECTION, Progress()).go(ids)
    assert (report.saved, report.skipped) == (29, 1)
    assert fake.versions(9) == [VERSION]


def test_refusals_end_the_run(fake: FakeLabelStudio) -> None:
    def forbidden(handler: BaseHTTPRequestHandler, _: object) -> bool:
        reply(handler, {}, status=403)
        return True

    fake.faults = [forbidden]
    with pytest.raises(LabelStudioError, match="403: LABEL_STUDIO_API_KEY was refused"):
        go(fake, Workers())


def test_an_interrupted_run_posts_what_it_has(fake: FakeLabelStudio) -> None:
    class Impatient(Progress):
        def advance(self, tasks: int = 1) -> None:
            super().advance(tasks)
            if self.finished == 10:
                project.stopping.set()

    project = Project(fake.label_studio, 1)
    progress = Impatient()
    report = Run(project, Workers(), SELECTION, progress).go(project.task_ids(SELECTION))
    assert 10 <= report.saved < 30
    assert len(fake.predictions) == report.saved


def test_reasons_by_frequency() -> None:
    failures = {1: "a.jpg: gone", 2: "b.jpg: gone", 3: "no key 'image'", 4: "c.jpg: damaged: cut off"}
    failures |= {task: f"{task}.jpg: 404" for task in range(10, 25)}
    assert list(reasons(failures)) == [
        "    15  404 (10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 5 more)",
        "     2  gone (1, 2)",
        "     1  no key 'image' (3)",
        "     1  c.jpg: damaged: cut off (4)",
    ]
