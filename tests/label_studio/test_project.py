"""Predictions posted in bulk: one for each task, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.conftest import WebServer
from tests.e2e.processes import free_port
from tests.support.fake_label_studio import FakeLabelStudio, Fault, hang_up, reply
from yolo_backend.errors import AnswerTooLargeError, ConfigError, LabelStudioAwayError, LabelStudioError
from yolo_backend.label_studio import project as project_module
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.project import Project, Selection
from yolo_backend.settings import Settings
from yolo_backend.tasks import Prediction

VERSION = "demo-1"
SELECTION = Selection(version=VERSION)


@pytest.fixture
def fake(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    monkeypatch.setattr(project_module, "LONGEST_PAUSE", 0.01)
    return FakeLabelStudio(web, tasks=9)


def project_of(fake: FakeLabelStudio, **options: float) -> Project:
    return Project(fake.label_studio, 1, **options)


def predictions_for(tasks: list[int]) -> dict[int, Prediction]:
    return {task: Prediction(regions=[{"id": "a/0", "score": 0.5}], model_version=VERSION) for task in tasks}


def refused_with(status: int, *, when: Callable[[list[int]], bool] = lambda tasks: True) -> Fault:
    def fault(handler: BaseHTTPRequestHandler, sent: list[dict[str, Any]]) -> bool:
        if not when([one["task"] for one in sent]):
            return False
        reply(handler, {"detail": "no"}, status=status)
        return True

    return fault


def test_ids_are_unique_and_always_the_same(fake: FakeLabelStudio) -> None:
    project = project_of(fake)
    assert project.post(SELECTION, predictions_for([1, 2])) == {}
    first, second = (one["result"][0]["id"] for one in fake.predictions)
    fake.predictions.clear()
    project.post(SELECTION, predictions_for([2, 1]))
    assert {one["task"]: one["result"][0]["id"] for one in fake.predictions} == {1: first, 2: second}
    assert first != second


def test_which_tasks(fake: FakeLabelStudio) -> None:
    fake.save(1, VERSION)
    fake.save(2, "an older one")
    project = project_of(fake)
    assert project.task_ids(SELECTION) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert project.task_ids(Selection(version=VERSION, limit=2)) == [2, 3]
    assert project.task_ids(Selection(version=VERSION, shard=1, shards=4)) == [5, 9]
    shards = [project.task_ids(Selection(version=VERSION, shard=shard, shards=4)) for shard in range(4)]
    assert sorted(task for shard in shards for task in shard) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert [task["id"] for task in project.lacking(SELECTION, [1, 2, 5, 77])] == [2, 5]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("listed", [1, 4, 9, 18, 100])
def test_all_pages_are_listed_and_each_task_once(
    fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, listed: int, times: int
) -> None:
    monkeypatch.setattr(project_module, "IDS_PER_PAGE", listed)
    fake.times = times
    assert project_of(fake).task_ids(SELECTION) == fake.ids


def test_tasks_that_have_this_version_get_no_second(fake: FakeLabelStudio) -> None:
    fake.save(1, VERSION)
    fake.save(2, "an older one")
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {}
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION], ["an older one", VERSION], [VERSION]]
    project_of(fake).post(SELECTION, predictions_for([1, 2, 3]))
    assert fake.posts == [2]


def test_an_answer_that_got_lost_brings_no_second(fake: FakeLabelStudio) -> None:
    def lost(handler: BaseHTTPRequestHandler, sent: list[dict[str, Any]]) -> bool:
        fake.save_all(sent)
        hang_up(handler)
        return True

    fake.faults = [lost]
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {}
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION]] * 3
    assert fake.posts == [3]


def test_half_a_post_is_made_whole(fake: FakeLabelStudio) -> None:
    def halfway(handler: BaseHTTPRequestHandler, sent: list[dict[str, Any]]) -> bool:
        fake.save_all(sent[:1])
        reply(handler, {}, status=500)
        return True

    fake.faults = [halfway]
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {}
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION]] * 3
    assert fake.posts == [3, 2]


def test_of_two_at_the_same_moment_the_older_stays(fake: FakeLabelStudio) -> None:
    def somebody_else(handler: BaseHTTPRequestHandler, sent: list[dict[str, Any]]) -> bool:
        fake.save(2, VERSION, "theirs")
        fake.save(3, "another version")
        return False

    fake.faults = [somebody_else]
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {}
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION], [VERSION], ["another version", VERSION]]
    assert [one["result"] for one in fake.predictions if one["task"] == 2] == ["theirs"]


def test_what_bulk_leaves_out_in_silence_is_posted_singly_and_told(fake: FakeLabelStudio) -> None:
    fake.wrong = {2}
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {
        2: "Label Studio answered 400: {'result': ['is wrong']}"
    }
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION], [], [VERSION]]


def test_one_that_spoils_the_post_is_found(fake: FakeLabelStudio) -> None:
    fake.faults = [refused_with(400, when=lambda tasks: 5 in tasks) for _ in range(10)]
    assert project_of(fake).post(SELECTION, predictions_for(fake.ids)) == {5: "Label Studio answered 400: no"}
    assert [task for task in fake.ids if fake.versions(task) != [VERSION]] == [5]


def test_a_post_that_is_too_large_is_halved(fake: FakeLabelStudio) -> None:
    fake.faults = [refused_with(413, when=lambda tasks: len(tasks) > 3) for _ in range(10)]
    assert project_of(fake).post(SELECTION, predictions_for(fake.ids)) == {}
    assert [fake.versions(task) for task in fake.ids] == [[VERSION]] * 9


@pytest.mark.parametrize(("bytes_allowed", "lists"), [(10_000, 1), (400, 3), (150, 9)])
def test_tasks_with_much_data_are_listed_in_parts(
    fake: FakeLabelStudio, web: WebServer, bytes_allowed: int, lists: int
) -> None:
    project = Project(replace(fake.label_studio, max_answer=bytes_allowed), 1)
    web.asked.clear()
    tasks = project.lacking(SELECTION, fake.ids)
    assert [task["data"]["image"] for task in tasks] == [f"{number}.jpg" for number in fake.ids]
    assert len(web.asked) == lists


def test_a_task_with_more_data_than_is_read(fake: FakeLabelStudio) -> None:
    project = Project(replace(fake.label_studio, max_answer=80), 1)
    with pytest.raises(AnswerTooLargeError, match="MAX_ANSWER_MB"):
        project.lacking(SELECTION, fake.ids)


def test_a_task_that_is_deleted_meanwhile_harms_no_other(fake: FakeLabelStudio) -> None:
    def deleted(handler: BaseHTTPRequestHandler, sent: list[dict[str, Any]]) -> bool:
        fake.ids.remove(2)
        reply(handler, {"detail": "task ID 2 not found"}, status=400)
        return True

    fake.faults = [deleted]
    assert project_of(fake).post(SELECTION, predictions_for([1, 2, 3])) == {}
    assert [fake.versions(task) for task in (1, 2, 3)] == [[VERSION], [], [VERSION]]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_may_not_post_is_told_at_once(fake: FakeLabelStudio, status: int) -> None:
    fake.faults = [refused_with(status)]
    with pytest.raises(LabelStudioError, match=str(status)):
        project_of(fake).post(SELECTION, predictions_for([1, 2, 3]))
    assert fake.posts == [3]


def test_patience_has_an_end(fake: FakeLabelStudio) -> None:
    fake.faults = [refused_with(503) for _ in range(1000)]
    with pytest.raises(LabelStudioAwayError, match=r"503, for \d s"):
        project_of(fake, patience=0.5).post(SELECTION, predictions_for([1]))
    assert fake.predictions == []


def test_patience_ends_once_for_calls_within_calls(fake: FakeLabelStudio, web: WebServer) -> None:
    project = project_of(fake, patience=0.5)
    web.routes["/api/tasks"] = lambda handler, _: reply(handler, {}, status=503)
    with pytest.raises(LabelStudioAwayError) as raised:
        project.post(SELECTION, predictions_for([1]))
    assert str(raised.value).count(", for ") == 1


def test_waiting_can_be_ended(fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_module, "LONGEST_PAUSE", 30)
    fake.faults = [refused_with(503) for _ in range(10)]
    project = project_of(fake)
    threading.Timer(0.1, project.stopping.set).start()
    with pytest.raises(LabelStudioAwayError, match="503"):
        project.post(SELECTION, predictions_for([1]))


def test_a_project_that_is_not_there(fake: FakeLabelStudio) -> None:
    with pytest.raises(ConfigError, match="no project 2"):
        Project(fake.label_studio, 2)


def test_a_label_studio_that_is_not_there_is_told_at_once() -> None:
    nowhere = LabelStudio.from_settings(Settings(label_studio_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(LabelStudioAwayError, match="connection refused"):
        Project(nowhere, 1)
