"""Requests that share work, come too late, or come twice: with real models, and a web server that takes its time."""

from __future__ import annotations

import json
import shutil
import socket
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
from yolo_backend.serving.context import RequestContext
from yolo_backend.serving.dispatcher import Dispatcher
from yolo_backend.serving.ledger import CLICK_SECONDS, PAIR_SECONDS, SAVE_SECONDS, PredictionLedger
from yolo_backend.serving.shared_ledger import SharedPredictionLedger
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
        self.status = 201  # 0: doesn't answer
        web.routes["/api/predictions/"] = self._answer

    def tasks(self) -> list[int]:
        return [saved["task"] for saved in self.saved]

    def _answer(self, handler: BaseHTTPRequestHandler, asked: WebRequest) -> None:
        status, content = self.status, b"[]"
        if not status:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if asked.method == "GET":
            task = int(asked.target.rpartition("=")[2])
            status = 200 if status == 201 else status
            content = json.dumps([saved for saved in self.saved if saved["task"] == task]).encode()
        elif status == 201:
            self.saved.append(json.loads(asked.body))
        answer(handler, content, status=status, Content_Type="application/json")


Make = Callable[..., Dispatcher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Dispatcher] = []

    def dispatcher(ledger: PredictionLedger | None = None, **settings: Any) -> Dispatcher:
        made.append(Dispatcher(Engine(Settings(model_dir=tmp_path, **settings)), ledger))
        return made[-1]

    yield dispatcher
    for each in made:
        each.outbox.close()


def ask(
    dispatcher: Dispatcher, *tasks: dict[str, Any], url: str | None = None, **request: Any
) -> list[Prediction | None]:
    label_studio = LabelStudio.from_settings(dispatcher.settings, hostname=url)
    known: dict[str, Any] = {"arrived": time.monotonic(), "project": "1.1"}
    context = RequestContext(**(known | request))
    return dispatcher.predict(dispatcher.engine.plan(CONFIG), tasks, label_studio, context)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come about"
        time.sleep(0.02)


def test_concurrent_requests_share_a_computation(make: Make, web: WebServer) -> None:
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


def test_repeat_is_answered_from_memory(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(result_cache_seconds=1), Pictures(web, "a")
    pictures.released.set()
    first = ask(dispatcher, pictures.task(1, "a"))
    again = ask(dispatcher, pictures.task(1, "a"))
    assert again == first != [None]
    assert pictures.asked("a") == 1
    time.sleep(1)
    assert ask(dispatcher, pictures.task(1, "a")) == first
    assert pictures.asked("a") == 2


def test_predictions_do_not_cross_credentials(make: Make, web: WebServer) -> None:
    """What one user may open another may not, though it was predicted a moment ago, or is being predicted."""

    def for_one(handler: BaseHTTPRequestHandler, asked: WebRequest) -> None:
        is_right = asked.headers.get("authorization") == "Token right"
        answer(handler, PHOTO if is_right else b"", status=200 if is_right else 403)

    web.routes["/data/upload/1/a.jpg"] = for_one
    dispatcher = make(media_hosts="*")
    plan = dispatcher.engine.plan(CONFIG)
    task = {"id": 1, "data": {"image": "/data/upload/1/a.jpg"}}

    def ask_with(token: str, project: str = "1.1") -> Prediction | None:
        label_studio = LabelStudio.from_settings(dispatcher.settings, hostname=web.url, access_token=token)
        context = RequestContext(arrived=time.monotonic(), project=project, interactive=True)
        return dispatcher.predict(plan, [task], label_studio, context)[0]

    assert ask_with("right") is not None
    assert ask_with("wrong") is None
    assert ask_with("wrong", project="2.1") is None
    assert ask_with("") is None
    asked = len(web.asked)
    assert ask_with("right") is not None
    assert len(web.asked) == asked, "it is kept for the same user"


def test_no_cache(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(result_cache_mb=0), Pictures(web, "a")
    pictures.released.set()
    assert ask(dispatcher, pictures.task(1, "a")) == ask(dispatcher, pictures.task(1, "a")) != [None]
    assert pictures.asked("a") == 2


def test_same_data_shares_values_but_no_ids(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    pictures.released.set()
    first, other = ask(dispatcher, pictures.task(1, "a"), pictures.task(2, "a"))
    assert first is not None
    assert other is not None
    assert pictures.asked("a") == 1
    assert [region["value"] for region in first.regions] == [region["value"] for region in other.regions]
    assert not {region["id"] for region in first.regions} & {region["id"] for region in other.regions}


def test_failure_is_told_and_tried_again(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web)
    assert ask(dispatcher, pictures.task(7, "gone")) == [None]
    (failure,) = dispatcher.details()["failed_tasks"]
    assert (failure["project"], failure["task"]) == ("1.1", 7)
    assert "404" in failure["reason"]
    web.reply("/gone.jpg", PHOTO)
    assert ask(dispatcher, pictures.task(7, "gone")) != [None]


def test_failure_is_told_for_every_task(make: Make, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, pictures = make(), Pictures(web)
    assert ask(dispatcher, *(pictures.task(number, "gone") for number in (7, 8, 9))) == [None] * 3
    assert [failure["task"] for failure in dispatcher.details()["failed_tasks"]] == [9, 8, 7]
    assert [caplog.text.count(f"Task {number} left out: {web.url}/gone.jpg: 404") for number in (7, 8, 9)] == [1, 1, 1]
    assert "Project 1.1: answered after" in caplog.text
    assert "predictions for 0 of 3 tasks, 3 failed, 0 go on" in caplog.text


def test_shared_reason_is_told_once(make: Make, web: WebServer) -> None:
    dispatcher = make()
    tasks = [Pictures(web).task(number, "a") for number in range(5)]
    plan = dispatcher.engine.plan(CONFIG.replace("demo-detect.pt", "gone.pt"))
    now = RequestContext(arrived=time.monotonic(), project="1.1")
    assert dispatcher.predict(plan, tasks, LabelStudio(url=None), now) == [None] * 5
    assert len(dispatcher.details()["failed_tasks"]) == 1
    assert "gone.pt" in str(dispatcher.details()["projects"]["1.1"]["problems"])


def test_late_prediction_waits_for_the_next_click(make: Make, web: WebServer) -> None:
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


def test_late_prediction_is_posted_once(make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "SAVE_SECONDS", 0.5)
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    tasks = [pictures.task(number, "slow") for number in (1, 2)]
    assert ask(dispatcher, *tasks) == [None, None]
    assert ask(dispatcher, *tasks) == [None, None], "the second click joins the first"
    pictures.released.set()
    until(lambda: len(api.saved) == 2)
    # A click may still come that was made before.
    assert ask(dispatcher, *tasks) == [None, None]
    assert sorted(api.tasks()) == [1, 2]
    assert all(saved["model_version"].startswith("demo-detect-") and saved["result"] for saved in api.saved)
    until(lambda: dispatcher.outbox.pending() == 0)
    # The predictions are deleted, and retrieved again.
    api.saved.clear()
    assert None not in ask(dispatcher, *tasks, arrived=time.monotonic() + PATIENCE / 10)


def test_saved_prediction_is_not_posted(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    version = dispatcher.engine.model_version(dispatcher.engine.plan(CONFIG))
    api.saved = [{"task": 1, "model_version": version}, {"task": 2, "model_version": "older"}]
    ask(dispatcher, *(pictures.task(number, "slow") for number in (1, 2)))
    pictures.released.set()
    until(lambda: dispatcher.outbox.pending() == 0)
    assert api.tasks() == [1, 2, 2]


def test_posting_goes_on_after_an_outage(make: Make, web: WebServer) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = 503
    ask(dispatcher, *(pictures.task(number, "slow") for number in (1, 2, 3)))
    pictures.released.set()
    until(lambda: sum(request.target.startswith("/api/predictions/") for request in web.asked) >= 2)
    assert dispatcher.outbox.pending() == 3
    api.status = 201
    until(lambda: dispatcher.outbox.pending() == 0)
    assert sorted(api.tasks()) == [1, 2, 3]


@pytest.mark.parametrize(("status", "kept"), [(500, 0), (503, 1), (429, 1), (0, 1)])
def test_tries_per_kind_of_error(
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
        until(lambda: dispatcher.outbox.pending() == 0)
    assert dispatcher.outbox.pending() == kept
    api.status = 201
    until(lambda: dispatcher.outbox.pending() == 0)
    assert len(api.saved) == kept


def test_post_without_an_answer_is_not_repeated(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "SAVE_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.1)
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    posts, is_back = [], threading.Event()

    def save_and_hang_up(handler: BaseHTTPRequestHandler, request: WebRequest) -> None:
        if request.method == "POST":
            posts.append(request)
            api.saved.append(json.loads(request.body))
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif posts and not is_back.is_set():
            answer(handler, status=503)
        else:
            answer(handler, json.dumps(api.saved).encode(), Content_Type="application/json")

    web.routes["/api/predictions/"] = save_and_hang_up
    task = pictures.task(1, "slow")
    ask(dispatcher, task)
    pictures.released.set()
    until(lambda: "answered 503" in caplog.text)
    assert ask(dispatcher, task) == [None], "it may be there, and while nobody knows it isn't given once more"
    is_back.set()
    until(lambda: dispatcher.outbox.pending() == 0)
    assert len(posts) == 1


def test_late_failure_is_told_once(make: Make, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    api, released = LabelStudioApi(web), threading.Event()

    def fail(handler: BaseHTTPRequestHandler, _: WebRequest) -> None:
        released.wait(PATIENCE)
        answer(handler, status=404)

    web.routes["/gone.jpg"] = fail
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    assert ask(dispatcher, Pictures(web).task(1, "gone")) == [None]
    assert dispatcher.outbox.pending() == 1
    released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0)
    assert dispatcher.outbox.pending() == 0
    assert caplog.text.count("ask 1 ") == 1
    assert api.saved == []


def test_opened_task_overtakes_batches(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(threads=2, batch_size=2, fetch_threads=1, predict_deadline=0.2), Pictures(web, "slow")
    dispatcher.engine.preparer.warm_up(dispatcher.engine.plan(CONFIG))
    for batch in range(2):
        tasks = [{"id": n, "data": pictures.task(n, "slow")["data"] | {"n": (batch, n)}} for n in range(20)]
        assert ask(dispatcher, *tasks) == [None] * 20
    web.reply("/quick.jpg", PHOTO)
    assert ask(dispatcher, pictures.task(9, "quick"), arrived=time.monotonic() + PATIENCE / 2) != [None]
    pictures.released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0)


def test_click_while_weights_are_fetched_joins(
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
        now = RequestContext(arrived=time.monotonic(), project="1.1")
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


def test_click_gets_what_cannot_be_posted(make: Make, web: WebServer) -> None:
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
def test_refused_post_is_left_to_the_next_click(
    make: Make, web: WebServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    api.status = status
    ask(dispatcher, pictures.task(1, "slow"))
    pictures.released.set()
    until(lambda: dispatcher.status()["tasks_running_or_queued"] == 0 and dispatcher.outbox.pending() == 0)
    assert f"The prediction of task 1 was not posted: Label Studio answered {status}" in caplog.text
    assert ask(dispatcher, pictures.task(1, "slow")) != [None]


def test_hung_up_request_is_posted(make: Make, web: WebServer) -> None:
    api = LabelStudioApi(web)
    web.reply("/a.jpg", PHOTO)
    dispatcher = make(label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    assert ask(dispatcher, Pictures(web).task(1, "a"), has_hung_up=lambda: True) == [None]
    until(lambda: api.tasks() == [1])


def test_half_closed_connection_is_answered(make: Make, web: WebServer) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, dispatcher, pictures.task(1, "a"), has_hung_up=lambda: True)
        until(lambda: pictures.asked("a") == 1)
        pictures.released.set()
        assert waiting.result(PATIENCE) != [None]


@pytest.mark.parametrize("saves", [True, False])
def test_opened_task_gets_one_prediction(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    monkeypatch.setattr(dispatcher_module, "SAVE_SECONDS", 1.0)
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
    # A later request is answered, and at once.
    later = time.monotonic() + SAVE_SECONDS + CLICK_SECONDS
    assert ask(dispatcher, pictures.task(1, "a"), arrived=later) != [None]


@pytest.mark.parametrize(("apart", "answers"), [(PAIR_SECONDS + 0.5, 1), (0.0, 2)])
def test_unsaid_whether_saved(make: Make, web: WebServer, apart: float, answers: int) -> None:
    dispatcher, pictures = make(), Pictures(web, "a")
    now = time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, dispatcher, pictures.task(1, "a"), arrived=now - 5 - apart)
        second = clients.submit(ask, dispatcher, pictures.task(1, "a"), arrived=now - 5)
        until(lambda: dispatcher.status()["requests_waiting"] == 2)
        pictures.released.set()
        found = [first.result(PATIENCE), second.result(PATIENCE)]
    assert sum(answer != [None] for answer in found) == answers


def workers(make: Make, tmp_path: Path, **settings: Any) -> list[Dispatcher]:
    """Two worker processes, as far as they can tell."""
    path = str(tmp_path / "ledger.sqlite")
    ledgers = [SharedPredictionLedger(path, worker=number, is_alive=lambda _: True) for number in (1, 2)]
    return [make(ledger, **{"predict_deadline": 0.5, **settings}) for ledger in ledgers]


def test_task_of_another_worker_is_left_alone(make: Make, web: WebServer, tmp_path: Path) -> None:
    pictures, api = Pictures(web, "slow"), LabelStudioApi(web)
    first, other = workers(make, tmp_path, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    task = pictures.task(1, "slow")
    later: dict[str, Any] = {"arrived": time.monotonic() + PAIR_SECONDS + 1}
    assert ask(first, task) == [None]
    assert ask(other, task, **later) == [None]
    assert pictures.asked("slow") == 1
    assert other.outbox.pending() == 0
    pictures.released.set()
    until(lambda: first.outbox.pending() == 0)
    assert api.tasks() == [1]
    assert ask(other, task, **later) == [None], "a click may still come that was made before"
    assert ask(other, task, arrived=time.monotonic() + SAVE_SECONDS + CLICK_SECONDS) != [None]


@pytest.mark.parametrize("apart", [0.0, PAIR_SECONDS + 1])
def test_workers_answer_a_pair_but_not_two_clicks(make: Make, web: WebServer, tmp_path: Path, apart: float) -> None:
    pictures = Pictures(web, "slow")
    first, other = workers(make, tmp_path, predict_deadline=PATIENCE)
    task, now = pictures.task(1, "slow"), time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        one = clients.submit(ask, first, task, arrived=now)
        until(lambda: pictures.asked("slow") == 1)
        another = clients.submit(ask, other, task, arrived=now + apart)
        until(lambda: pictures.asked("slow") == 2 or another.done())
        pictures.released.set()
        assert one.result(PATIENCE) != [None]
        assert (another.result(PATIENCE) == [None]) == bool(apart), "both are answered when a task is opened"
    assert ask(other, task, arrived=now + PATIENCE) != [None]


def test_failed_task_is_free_for_another_worker(make: Make, web: WebServer, tmp_path: Path) -> None:
    api = LabelStudioApi(web)
    first, other = workers(
        make, tmp_path, predict_deadline=PATIENCE, label_studio_url=web.url, label_studio_api_key=SecretStr("key")
    )
    task = Pictures(web).task(1, "gone")
    later: dict[str, Any] = {"arrived": time.monotonic() + PAIR_SECONDS + 1}
    assert ask(first, task) == [None]
    web.reply("/gone.jpg", PHOTO)
    assert ask(other, task, **later) != [None]
    # Nor does it keep what is refused when it is posted.
    api.status = 404
    assert ask(first, task, has_hung_up=lambda: True) == [None]
    until(lambda: first.outbox.pending() == 0)
    assert ask(other, task, **later) != [None]


def test_opened_task_gets_one_prediction_from_two_workers(make: Make, web: WebServer, tmp_path: Path) -> None:
    pictures, api = Pictures(web, "a"), LabelStudioApi(web)
    both = workers(
        make, tmp_path, predict_deadline=PATIENCE, label_studio_url=web.url, label_studio_api_key=SecretStr("key")
    )

    def opened(worker: Dispatcher) -> bool:
        (found,) = ask(worker, pictures.task(1, "a"))
        if found is None:
            return api.tasks() == [1]  # the editor shows what is saved now
        time.sleep(0.5)
        api.saved.append({"task": 1, "model_version": found.model_version})
        return True

    with ThreadPoolExecutor(2) as pages:
        pages_shown = [pages.submit(opened, worker) for worker in both]
        until(lambda: pictures.asked("a") == 2)
        pictures.released.set()
        assert [page.result(PATIENCE) for page in pages_shown] == [True, True]
    assert api.tasks() == [1]


def test_broken_ledger_costs_deduplication_alone(
    make: Make, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    web.reply("/a.jpg", PHOTO)
    broken = make(SharedPredictionLedger(str(tmp_path)))
    assert ask(broken, Pictures(web).task(2, "a")) != [None]
    assert "Workers can't tell each other" in caplog.text


def test_interactive_request_is_always_answered(make: Make, web: WebServer) -> None:
    pictures, _ = Pictures(web, "slow"), LabelStudioApi(web)
    dispatcher = make(predict_deadline=0.5, label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    task = pictures.task(1, "slow")
    assert ask(dispatcher, task, interactive=True) == [None]
    assert dispatcher.outbox.pending() == 0
    assert ask(dispatcher, task) == [None]
    pictures.released.set()
    until(lambda: dispatcher.outbox.pending() == 0)
    assert ask(dispatcher, task, interactive=True) != [None]


def test_stopping_does_not_wait_for_the_deadline(make: Make, web: WebServer) -> None:
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
def test_unknown_ids_are_answered_and_not_recorded(make: Make, web: WebServer, number: Any, late: bool) -> None:
    api = LabelStudioApi(web)
    dispatcher = make(label_studio_url=web.url, label_studio_api_key=SecretStr("key"))
    web.reply("/a.jpg", PHOTO)
    tasks = [{"id": number, "data": {"image": f"{web.url}/a.jpg", "n": n}} for n in range(2)]
    found = ask(dispatcher, *tasks, arrived=time.monotonic() - 5, has_hung_up=lambda: late)
    assert late or None not in found
    assert dispatcher.outbox.pending() == 0
    assert api.saved == []


@pytest.mark.parametrize("data", [None, [], "text", 7, {"image": None}, {"image": "\ud800"}, {"image": {"a": 1}}])
def test_odd_data_fails_its_task_alone(make: Make, web: WebServer, data: Any) -> None:
    dispatcher = make()
    web.reply("/a.jpg", PHOTO)
    odd, good = ask(dispatcher, {"id": 1, "data": data}, {"id": 2, "data": {"image": f"{web.url}/a.jpg"}})
    assert odd is None
    assert good is not None
