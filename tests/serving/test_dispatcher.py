"""Requests that share work, come too late, or come twice: with real models, and a web server that takes its time."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.conftest import Asked as WebRequest
from tests.conftest import WebServer, answer
from yolo_backend.inference import WeightsStore
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.serving import dispatcher as dispatcher_module
from yolo_backend.serving import outbox
from yolo_backend.serving.context import Asked
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.serving.ledger import REMEMBERED, SIMULTANEOUS, Claims
from yolo_backend.settings import PROJECT_DIR, Settings
from yolo_backend.tasks import Prediction

PHOTO = (PROJECT_DIR / "examples" / "images" / "photo-03.jpg").read_bytes()
CONFIG = (PROJECT_DIR / "examples" / "RectangleLabels.xml").read_text()
PATIENCE = 30.0


class Pictures:
    """Pictures on a web server that are sent only once `released`."""

    def __init__(self, web: WebServer, *names: str) -> None:
        self.released = threading.Event()
        self.web = web
        for name in names:
            web.routes[f"/{name}.jpg"] = self._send

    def _send(self, handler: BaseHTTPRequestHandler, _: WebRequest) -> None:
        self.released.wait(PATIENCE)
        answer(handler, PHOTO)

    def asked(self, name: str) -> int:
        return [request.target for request in self.web.asked].count(f"/{name}.jpg")

    def task(self, number: int, name: str) -> dict[str, Any]:
        return {"id": number, "data": {"image": f"{self.web.url}/{name}.jpg"}}


class LabelStudioApi:
    """The part of Label Studio's API that keeps predictions."""

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self.saved: list[dict[str, Any]] = []
        self.status = 201
        web.routes["/api/predictions/"] = self._answer

    def _answer(self, handler: BaseHTTPRequestHandler, asked: WebRequest) -> None:
        status, content = self.status, b"[]"
        if asked.method == "GET":
            task = int(asked.target.rpartition("=")[2])
            status = 200 if status == 201 else status
            content = json.dumps([one for one in self.saved if one["task"] == task]).encode()
        elif status == 201:
            self.saved.append(json.loads(asked.body))
        answer(handler, content, status=status, Content_Type="application/json")


Make = Callable[..., Dispatcher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Dispatcher] = []

    def dispatcher(claims: str | None = None, **settings: Any) -> Dispatcher:
        made.append(Dispatcher(Engine(Settings(model_dir=tmp_path, **settings)), Claims(claims)))
        return made[-1]

    yield dispatcher
    for one in made:
        one.poster.close()


def ask(
    dispatcher: Dispatcher, *tasks: dict[str, Any], url: str | None = None, **asked: Any
) -> list[Prediction | None]:
    label_studio = LabelStudio.from_settings(dispatcher.settings, hostname=url)
    known: dict[str, Any] = {"arrived": time.monotonic(), "project": "1.1"}
    now = Asked(**(known | asked))
    return dispatcher.predict(dispatcher.engine.plan(CONFIG), tasks, label_studio, now)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come about"
        time.sleep(0.02)


def test_requests_at_once_share_one_computation(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(ask, dispatcher, pictures.task(1, "a")) for _ in range(4)]
        until(lambda: pictures.asked("a") == 1)
        pictures.released.set()
        (first, *others) = [each.result(PATIENCE) for each in answers]
    assert first[0] is not None
    assert first[0].regions
    assert all(each == first for each in others)
    assert pictures.asked("a") == 1


def test_a_repeat_is_answered_from_memory_for_a_while(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(result_cache_seconds=1), Pictures(web, "a")
    pictures.released.set()
    first = ask(dispatcher, pictures.task(1, "a"))
    again = ask(dispatcher, pictures.task(1, "a"))
    assert again == first != [None]
    assert pictures.asked("a") == 1
    time.sleep(1)
    assert ask(dispatcher, pictures.task(1, "a")) == first
    assert pictures.asked("a") == 2


def test_no_memory_for_repeats(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(result_cache_mb=0), Pictures(web, "a")
    pictures.released.set()
    assert ask(dispatcher, pictures.task(1, "a")) == ask(dispatcher, pictures.task(1, "a")) != [None]
    assert pictures.asked("a") == 2


def test_tasks_with_the_same_data_have_regions_of_their_own(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    pictures.released.set()
    one, other = ask(dispatcher, pictures.task(1, "a"), pictures.task(2, "a"))
    assert one is not None
    assert other is not None
    assert pictures.asked("a") == 1
    assert [region["value"] for region in one.regions] == [region["value"] for region in other.regions]
    assert not {region["id"] for region in one.regions} & {region["id"] for region in other.regions}


def test_a_failure_is_told_and_tried_again(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web)
    assert ask(dispatcher, pictures.task(7, "gone")) == [None]
    (failure,) = dispatcher.details()["failed_tasks"]
    assert (failure["project"], failure["task"]) == ("1.1", 7)
    assert "404" in failure["reason"]
    web.reply("/gone.jpg", PHOTO)
    assert ask(dispatcher, pictures.task(7, "gone")) != [None]


def test_a_failure_is_told_for_every_task_with_this_data(
    make: Make, web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, pictures = make(), Pictures(web)
    assert ask(dispatcher, *(pictures.task(number, "gone") for number in (7, 8, 9))) == [None] * 3
    assert [failure["task"] for failure in dispatcher.details()["failed_tasks"]] == [9, 8, 7]
    assert [caplog.text.count(f"Task {number} left out: {web.url}/gone.jpg: 404") for number in (7, 8, 9)] == [1, 1, 1]
    assert "Project 1.1: answered after" in caplog.text
    assert "predictions for 0 of 3 tasks, 3 failed, 0 go on" in caplog.text


def test_a_reason_that_all_tasks_share_is_told_once(make: Make, web: WebServer) -> None:
    dispatcher = make()
    tasks = [Pictures(web).task(number, "a") for number in range(5)]
    plan = dispatcher.engine.plan(CONFIG.replace("demo-detect.pt", "gone.pt"))
    now = Asked(arrived=time.monotonic(), project="1.1")
    assert dispatcher.predict(plan, tasks, LabelStudio(url=None), now) == [None] * 5
    assert len(dispatcher.details()["failed_tasks"]) == 1
    assert "gone.pt" in str(dispatcher.details()["projects"]["1.1"]["problems"])


def test_what_is_late_waits_for_the_next_click(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(predict_deadline=0.5), Pictures(web, "slow")
    web.reply("/quick.jpg", PHOTO)
    dispatcher.engine.preparer.warm_up(dispatcher.engine.plan(CONFIG))
    tasks = [pictures.task(1, "slow"), pictures.task(2, "quick")]
    slow, quick = ask(dispatcher, *tasks)
    pictures.released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0)
    assert None not in ask(dispatcher, *tasks)
    assert pictures.asked("slow") == 1
    assert quick is not None
    assert slow is None


def test_what_is_late_is_posted_once(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    tasks = [pictures.task(number, "slow") for number in (1, 2)]
    assert ask(dispatcher, *tasks) == [None, None]
    assert ask(dispatcher, *tasks) == [None, None], "the second click joins the first"
    pictures.released.set()
    until(lambda: len(api.saved) == 2)
    # Right after that a click may still come that was made before.
    assert ask(dispatcher, *tasks) == [None, None]
    assert sorted(one["task"] for one in api.saved) == [1, 2]
    assert all(one["model_version"].startswith("demo-detect-") and one["result"] for one in api.saved)
    until(lambda: dispatcher.poster.left() == 0)
    # A click long after it is meant: the predictions were deleted in between.
    assert None not in ask(dispatcher, *tasks, arrived=time.monotonic() + REMEMBERED + 1)


def test_what_label_studio_has_already_is_not_posted(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    version = dispatcher.engine.model_version(dispatcher.engine.plan(CONFIG))
    api.saved = [{"task": 1, "model_version": version}, {"task": 2, "model_version": "older"}]
    ask(dispatcher, *(pictures.task(number, "slow") for number in (1, 2)))
    pictures.released.set()
    until(lambda: dispatcher.poster.left() == 0)
    assert [one["task"] for one in api.saved] == [1, 2, 2]


def test_posting_goes_on_when_label_studio_is_back(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = 503
    ask(dispatcher, *(pictures.task(number, "slow") for number in (1, 2, 3)))
    pictures.released.set()
    until(lambda: sum(request.target.startswith("/api/predictions/") for request in web.asked) >= 2)
    assert dispatcher.poster.left() == 3
    api.status = 201
    until(lambda: dispatcher.poster.left() == 0)
    assert sorted(one["task"] for one in api.saved) == [1, 2, 3]


@pytest.mark.parametrize(("status", "kept"), [(500, 0), (503, 1), (429, 1)])
def test_a_proxys_errors_are_no_reason_to_give_up(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, status: int, kept: int
) -> None:
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.01)
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = status
    ask(dispatcher, pictures.task(1, "slow"))
    pictures.released.set()
    until(lambda: sum(request.target.startswith("/api/predictions/") for request in web.asked) >= outbox.TRIES + kept)
    if not kept:
        until(lambda: dispatcher.poster.left() == 0)
    assert dispatcher.poster.left() == kept
    api.status = 201
    until(lambda: dispatcher.poster.left() == 0)
    assert len(api.saved) == kept


def test_what_is_late_and_fails_is_told_once(make: Make, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    api, released = LabelStudioApi(web), threading.Event()

    def fail(handler: BaseHTTPRequestHandler, _: WebRequest) -> None:
        released.wait(PATIENCE)
        answer(handler, status=404)

    web.routes["/gone.jpg"] = fail
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    assert ask(dispatcher, Pictures(web).task(1, "gone")) == [None]
    assert dispatcher.poster.left() == 1
    released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0)
    assert dispatcher.poster.left() == 0
    assert caplog.text.count("ask 1 ") == 1
    assert api.saved == []


def test_who_opens_a_task_does_not_wait_for_long_batches(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(threads=2, batch_size=2, fetch_threads=1, predict_deadline=0.2), Pictures(web, "slow")
    dispatcher.engine.preparer.warm_up(dispatcher.engine.plan(CONFIG))
    for batch in range(2):
        tasks = [{"id": n, "data": pictures.task(n, "slow")["data"] | {"n": (batch, n)}} for n in range(20)]
        assert ask(dispatcher, *tasks) == [None] * 20
    web.reply("/quick.jpg", PHOTO)
    assert ask(dispatcher, pictures.task(9, "quick"), arrived=time.monotonic() + PATIENCE / 2) != [None]
    pictures.released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0)


def test_a_click_while_the_weights_are_fetched_joins_the_first(
    make: Make, web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher, pictures, there = make(model_root=tmp_path), Pictures(web, "a"), threading.Event()
    pictures.released.set()

    def download(store: WeightsStore, name: str) -> Path:
        there.wait(PATIENCE)
        return Path(shutil.copy(PROJECT_DIR / "models" / "demo-detect.pt", tmp_path / name))

    monkeypatch.setattr(WeightsStore, "_download", download)
    plan = dispatcher.engine.plan(CONFIG.replace('model_path="demo-detect.pt"', ""))
    missing = dispatcher.engine.model_version(plan)

    def click() -> list[Prediction | None]:
        now = Asked(arrived=time.monotonic(), project="1.1")
        return dispatcher.predict(plan, [pictures.task(1, "a")], LabelStudio(url=None), now)

    with ThreadPoolExecutor(2) as clients:
        clicks = [clients.submit(click) for _ in range(2)]
        time.sleep(0.5)
        there.set()
        (first,), (second,) = [each.result(PATIENCE) for each in clicks]
    assert first is not None
    assert first == second
    assert first.model_version == dispatcher.engine.model_version(plan) != missing
    assert pictures.asked("a") == 1


def test_while_posting_fails_a_click_gets_them(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = 503
    task = pictures.task(1, "slow")
    ask(dispatcher, task)
    pictures.released.set()
    until(lambda: any(request.target.startswith("/api/predictions/") for request in web.asked))
    until(lambda: ask(dispatcher, task) != [None])
    api.status = 201
    time.sleep(2.5)  # longer than the pauses so far
    assert api.saved == []


@pytest.mark.parametrize("status", [401, 404])
def test_what_label_studio_refuses_is_kept_for_the_next_click(
    make: Make, web: WebServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = status
    ask(dispatcher, pictures.task(1, "slow"))
    pictures.released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0 and dispatcher.poster.left() == 0)
    assert f"The prediction of task 1 was not posted: Label Studio answered {status}" in caplog.text
    assert ask(dispatcher, pictures.task(1, "slow")) != [None]


def test_all_is_posted_to_who_has_hung_up(make: Make, web: WebServer) -> None:
    api = LabelStudioApi(web)
    web.reply("/a.jpg", PHOTO)
    dispatcher = make(label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    assert ask(dispatcher, Pictures(web).task(1, "a"), gone=lambda: True) == [None]
    until(lambda: [one["task"] for one in api.saved] == [1])


def test_who_has_closed_the_connection_halfway_is_answered(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, dispatcher, pictures.task(1, "a"), gone=lambda: True)
        until(lambda: pictures.asked("a") == 1)
        pictures.released.set()
        assert waiting.result(PATIENCE) != [None]


@pytest.mark.parametrize("saves", [True, False])
def test_a_task_that_is_opened_gets_one_prediction(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    monkeypatch.setattr(dispatcher_module, "SAVING", 1.0)
    pictures, api = Pictures(web, "a"), LabelStudioApi(web)
    dispatcher = make(label_studio_url=web.url, label_studio_api_key=SecretStr("key"))

    def opened() -> list[Prediction | None]:
        (found,) = ask(dispatcher, pictures.task(1, "a"))
        if found is not None and saves:
            time.sleep(0.3)
            api.saved.append({"task": 1, "model_version": found.model_version})
        return [found]

    with ThreadPoolExecutor(3) as pages:
        answers = [pages.submit(opened) for _ in range(2)]
        until(lambda: dispatcher.status()["requests_waiting"] == 2)
        pictures.released.set()
        wait(answers, return_when=FIRST_COMPLETED)
        answers.append(pages.submit(opened))
        assert sum(each.result(PATIENCE) != [None] for each in answers) == (1 if saves else 3)
    # Who asks later is answered, and at once.
    later = time.monotonic() + dispatcher_module.SAVING
    assert ask(dispatcher, pictures.task(1, "a"), arrived=later) != [None]


@pytest.mark.parametrize(("apart", "answers"), [(SIMULTANEOUS + 0.5, 1), (0.0, 2)])
def test_two_clicks_are_answered_once_but_requests_at_the_same_moment_both(
    make: Make, web: WebServer, apart: float, answers: int
) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    now = time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, dispatcher, pictures.task(1, "a"), arrived=now - 5 - apart)
        second = clients.submit(ask, dispatcher, pictures.task(1, "a"), arrived=now - 5)
        until(lambda: dispatcher.status()["requests_waiting"] == 2)
        pictures.released.set()
        found = [first.result(PATIENCE), second.result(PATIENCE)]
    assert len([one for one in found if one != [None]]) == answers


def workers(make: Make, web: WebServer, tmp_path: Path, **settings: Any) -> list[Dispatcher]:
    """Two worker processes, as far as they can tell."""
    shared = {"claims": str(tmp_path / "claims.sqlite"), "predict_deadline": 0.5, **settings}
    return [make(**shared) for _ in range(2)]


def test_another_worker_leaves_alone_what_one_sees_to(make: Make, web: WebServer, tmp_path: Path) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    one, other = workers(make, web, tmp_path, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    task = pictures.task(1, "slow")
    later: dict[str, Any] = {"arrived": time.monotonic() + SIMULTANEOUS + 1}
    assert ask(one, task) == [None]
    assert ask(other, task, **later) == [None]
    assert pictures.asked("slow") == 1
    assert other.poster.left() == 0
    pictures.released.set()
    until(lambda: one.poster.left() == 0)
    assert [saved["task"] for saved in api.saved] == [1]
    assert ask(other, task, **later) == [None], "right after that a click may still come that was made before"
    assert ask(other, task, arrived=time.monotonic() + REMEMBERED + 1) != [None]


@pytest.mark.parametrize("apart", [0.0, SIMULTANEOUS + 1])
def test_another_worker_answers_once_one_has(make: Make, web: WebServer, tmp_path: Path, apart: float) -> None:
    pictures = Pictures(web, "slow")
    one, other = workers(make, web, tmp_path, predict_deadline=PATIENCE)
    task, now = pictures.task(1, "slow"), time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, one, task, arrived=now)
        until(lambda: pictures.asked("slow") == 1)
        second = clients.submit(ask, other, task, arrived=now + apart)
        until(lambda: pictures.asked("slow") == 2 or second.done())
        pictures.released.set()
        assert first.result(PATIENCE) != [None]
        assert (second.result(PATIENCE) == [None]) == bool(apart), "both are answered when a task is opened"
    assert ask(other, task, arrived=now + PATIENCE) != [None]


def test_what_a_worker_cannot_do_another_may_try(make: Make, web: WebServer, tmp_path: Path) -> None:
    api = LabelStudioApi(web)
    one, other = workers(
        make, web, tmp_path, predict_deadline=PATIENCE, label_studio_url=web.url, label_studio_api_key=SecretStr("key")
    )
    task = Pictures(web).task(1, "gone")
    later: dict[str, Any] = {"arrived": time.monotonic() + SIMULTANEOUS + 1}
    assert ask(one, task) == [None]
    web.reply("/gone.jpg", PHOTO)
    assert ask(other, task, **later) != [None]
    # Nor does it keep what is refused when it is posted.
    api.status = 404
    assert ask(one, task, gone=lambda: True) == [None]
    until(lambda: one.poster.left() == 0)
    assert ask(other, task, **later) != [None]


def test_claims_of_a_process_that_is_gone_or_of_a_file_that_is_broken_keep_nobody(
    make: Make, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "claims.sqlite"
    one, other = workers(make, web, tmp_path, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    LabelStudioApi(web)
    web.reply("/a.jpg", PHOTO)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pictures = Pictures(web, "slow")
    task = pictures.task(1, "slow")
    later: dict[str, Any] = {"arrived": time.monotonic() + SIMULTANEOUS + 1}
    assert ask(one, task) == [None]
    with sqlite3.connect(path) as claims:
        assert claims.execute("UPDATE claim SET pid = ?", (int(gone.stdout),)).rowcount == 1
    claims.close()
    pictures.released.set()
    assert ask(other, task, **later | {"arrived": time.monotonic() + PATIENCE}) != [None]
    broken = make(claims=str(tmp_path))
    assert ask(broken, Pictures(web).task(2, "a")) != [None]
    assert "Workers can't tell each other" in caplog.text


def test_interactive_requests_are_always_answered(make: Make, web: WebServer) -> None:
    pictures, _ = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    task = pictures.task(1, "slow")
    assert ask(dispatcher, task, interactive=True) == [None]
    assert dispatcher.poster.left() == 0
    assert ask(dispatcher, task) == [None]
    pictures.released.set()
    until(lambda: dispatcher.poster.left() == 0)
    assert ask(dispatcher, task, interactive=True) != [None]


def test_the_end_of_the_process_doesnt_wait_for_the_deadline(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "slow")
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, dispatcher, pictures.task(1, "slow"))
        until(lambda: pictures.asked("slow") == 1)
        dispatcher.stop(0.2)
        assert waiting.result(PATIENCE) == [None]
        dispatcher.close()
        pictures.released.set()


@pytest.mark.parametrize("number", [None, [1], {"a": 1}, "seven", True, float("nan"), 1.5])
@pytest.mark.parametrize("late", [False, True])
def test_tasks_that_label_studio_cannot_know_are_answered_all_the_same(
    make: Make, web: WebServer, number: Any, late: bool
) -> None:
    api = LabelStudioApi(web)
    dispatcher = make(label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    web.reply("/a.jpg", PHOTO)
    tasks = [{"id": number, "data": {"image": f"{web.url}/a.jpg", "n": n}} for n in range(2)]
    found = ask(dispatcher, *tasks, arrived=time.monotonic() - 5, gone=lambda: late)
    assert late or None not in found
    assert dispatcher.poster.left() == 0
    assert api.saved == []


@pytest.mark.parametrize("data", [None, [], "text", 7, {"image": None}, {"image": "\ud800"}, {"image": {"a": 1}}])
def test_odd_data_is_a_failure_of_that_task(make: Make, web: WebServer, data: Any) -> None:
    dispatcher = make()
    web.reply("/a.jpg", PHOTO)
    odd, good = ask(dispatcher, {"id": 1, "data": data}, {"id": 2, "data": {"image": f"{web.url}/a.jpg"}})
    assert odd is None
    assert good is not None
