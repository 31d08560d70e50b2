"""One prediction per task and version, in any order of events; Label Studio behaves as it was measured to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from yolo_backend.serving.ledger import CLICK_SECONDS, PAIR_SECONDS, SAVE_SECONDS, PredictionKey, PredictionLedger
from yolo_backend.serving.shared_ledger import SharedPredictionLedger
from yolo_backend.settings import PROJECT_DIR

KEY = PredictionKey(url="http://label-studio", project="1.1", task=1, version="a")
DEADLINE = 90.0


@dataclass(eq=False, kw_only=True)
class Request:
    """A request for the prediction of one task, among others of the request or ``single``."""

    clicked: float
    single: bool
    arrived: float = 0.0
    doubt: float | None = None
    """When Label Studio was given the prediction, which it is being asked for."""


@dataclass(eq=False, kw_only=True)
class Worker:
    """A process, as far as it matters to the ledger."""

    ledger: PredictionLedger
    requests: list[Request] = field(default_factory=list)
    is_pending: bool = False
    """In the outbox."""
    lacked: float | None = None
    """When Label Studio said that it lacks the prediction which is to be posted next."""
    sent: float | None = None
    """When the post began that hasn't been answered yet."""
    is_unknown: bool = False
    """Whether Label Studio has it, since a post was not answered."""
    retry: float = 0.0
    """When the next try may begin."""

    def is_posting(self) -> bool:
        return self.lacked is not None or self.sent is not None or self.is_pending


class OneProcess(RuleBasedStateMachine):
    """Label Studio, people who click and open the task, and a service that is one process."""

    processes = 1

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.saved = 0
        self.saving: list[float] = []
        """The times at which answers and posts came that are not saved yet."""
        self.travelling: list[Request] = []
        self.alive: dict[int, Worker] = {}
        self.is_kept = True
        """Nothing has happened by which a prediction needs one more click: a lost answer, a death, a deletion."""
        self.was_pending = False

    @initialize(may_post=st.booleans())
    def start(self, may_post: bool) -> None:
        self.may_post = may_post
        self.numbers = iter(range(1, 1000))
        for _ in range(self.processes):
            self.start_worker()

    def start_worker(self) -> None:
        number = next(self.numbers)
        self.alive[number] = Worker(ledger=self.ledger(number))

    def ledger(self, number: int) -> PredictionLedger:
        return PredictionLedger(longest_wait=DEADLINE, worker=number, clock=lambda: self.now)

    def workers(self) -> list[Worker]:
        return list(self.alive.values())

    def active(self) -> list[tuple[Worker, Request]]:
        return [(worker, request) for worker in self.workers() for request in worker.requests]

    # Time, and Label Studio

    @rule(seconds=st.sampled_from([0.1, PAIR_SECONDS, 2.0, SAVE_SECONDS, CLICK_SECONDS, 30.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        until = min([until, *(request.clicked + CLICK_SECONDS for request in self.travelling)])
        until = min([until, *(request.arrived + DEADLINE for _, request in self.active())])
        for moment in [each for worker in self.workers() for each in (worker.lacked, worker.sent) if each is not None]:
            until = min(until, moment + SAVE_SECONDS)
        while self.saving and min(self.saving) + SAVE_SECONDS <= until:
            self.now = max(self.now, min(self.saving) + SAVE_SECONDS)
            self.save(min(self.saving))
        self.now = max(self.now, until)

    def save(self, given: float) -> None:
        self.saving.remove(given)
        self.saved += 1

    @precondition(lambda self: self.saving)
    @rule(data=st.data())
    def label_studio_saves(self, data: st.DataObject) -> None:
        self.save(data.draw(st.sampled_from(self.saving)))

    @rule(requests=st.sampled_from(["batch", "one", "pair"]))
    def somebody_clicks(self, requests: str) -> None:
        """Retrieve Predictions, for several tasks or for one; or the task is opened."""
        if not self.saved:
            for _ in range(2 if requests == "pair" else 1):
                self.travelling.append(Request(clicked=self.now, single=requests != "batch"))

    @precondition(lambda self: self.saved)
    @rule()
    def somebody_deletes_predictions(self) -> None:
        self.saved, self.is_kept = 0, False

    # Requests

    @precondition(lambda self: self.travelling)
    @rule(data=st.data())
    def request_arrives(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.travelling))
        self.arrive(request, data.draw(st.sampled_from(self.workers())))

    def arrive(self, request: Request, worker: Worker) -> None:
        self.travelling.remove(request)
        request.arrived = self.now
        if not worker.ledger.begin([KEY], self.now, single=request.single):
            worker.requests.append(request)

    @precondition(lambda self: self.active())
    @rule(data=st.data(), hangs_up=st.booleans())
    def request_is_answered(self, data: st.DataObject, hangs_up: bool) -> None:
        """Computed, it is answered or left out. Label Studio may hang up at the last moment, so that nobody notices."""
        worker, request = data.draw(st.sampled_from(self.active()))
        self.answer(worker, request, hangs_up=hangs_up)

    def answer(self, worker: Worker, request: Request, *, hangs_up: bool = False) -> None:
        if request.doubt is not None:
            if self.saved or self.now >= request.arrived + DEADLINE:
                self.leave(worker, request)
            elif self.now > request.doubt + SAVE_SECONDS:
                worker.ledger.lost({KEY: request.doubt})
                request.doubt = None
            return
        answers, doubtful = worker.ledger.settle([KEY], request.arrived, single=request.single)
        if answers:
            worker.is_pending = False
            if hangs_up:
                self.is_kept = False
            else:
                self.saving.append(self.now)
        request.doubt = doubtful.get(KEY)
        if request.doubt is None:
            self.leave(worker, request)

    @precondition(lambda self: self.active())
    @rule(data=st.data())
    def request_is_late_or_hangs_up(self, data: st.DataObject) -> None:
        worker, request = data.draw(st.sampled_from(self.active()))
        self.give_up(worker, request)

    def give_up(self, worker: Worker, request: Request) -> None:
        """End a request without an answer."""
        if self.may_post and request.doubt is None:
            worker.is_pending = self.was_pending = True
        else:
            self.is_kept = False
        self.leave(worker, request)

    def leave(self, worker: Worker, request: Request) -> None:
        worker.requests.remove(request)
        if not worker.is_pending:
            worker.ledger.release([KEY], request.arrived)

    # Posting

    @precondition(lambda self: any(worker.is_posting() for worker in self.workers()))
    @rule(data=st.data(), outcome=st.sampled_from(["done", "done", "away", "no answer"]))
    def outbox_goes_on(self, data: st.DataObject, outcome: str) -> None:
        self.post(data.draw(st.sampled_from([worker for worker in self.workers() if worker.is_posting()])), outcome)

    def post(self, worker: Worker, outcome: str = "done") -> None:
        """Ask whether Label Studio has it; or send it; or take the answer to that, or its absence."""
        if worker.sent is not None:
            if outcome == "away":
                return  # for now
            if outcome == "done":
                worker.ledger.posted(KEY)
                worker.is_pending = False
            else:
                worker.is_unknown = True
            worker.sent = None
        elif worker.lacked is not None:
            worker.lacked = None
            if not worker.ledger.begin_post(KEY):
                worker.is_pending = False
                return
            worker.retry = self.now + SAVE_SECONDS
            if outcome == "away":
                worker.ledger.release([KEY])
            elif outcome == "done":
                worker.sent = self.now
                self.saving.append(self.now)
            else:  # it got lost on its way
                worker.is_unknown = True
        elif self.now > worker.retry:
            if outcome != "done":
                if not worker.is_unknown:
                    worker.ledger.release([KEY])
            elif self.saved:
                worker.ledger.posted(KEY)
                worker.is_pending = False
            else:
                worker.is_unknown, worker.lacked = False, self.now

    # The end

    @invariant()
    def never_two_saved(self) -> None:
        assert self.saved <= 1

    def teardown(self) -> None:
        """Whatever has happened, a computed prediction is saved in the end, with one more click at most."""
        self.go_on()
        if self.was_pending and self.is_kept:
            self.time_passes(SAVE_SECONDS)
            assert self.saved == 1, "posted without a click"
        self.time_passes(SAVE_SECONDS)
        self.somebody_clicks("batch")
        self.go_on()
        self.time_passes(SAVE_SECONDS)
        assert self.saved == 1

    def go_on(self) -> None:
        """Go on until nothing is left to do."""
        for _ in range(100):
            for request in list(self.travelling):
                self.arrive(request, self.workers()[0])
            for worker in self.workers():
                for request in list(worker.requests):
                    self.answer(worker, request)
                if worker.is_posting():
                    self.post(worker)
            if not (self.travelling or self.active() or any(worker.is_posting() for worker in self.workers())):
                return
            self.time_passes(2.0)
            self.never_two_saved()
        raise AssertionError("it doesn't end")


class SeveralProcesses(OneProcess):
    """The same with workers that share a file, and that are killed and replaced."""

    processes = 2

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())

    def ledger(self, number: int) -> PredictionLedger:
        return SharedPredictionLedger(
            str(self.directory / "ledger.sqlite"),
            longest_wait=DEADLINE,
            worker=number,
            clock=lambda: self.now,
            is_alive=lambda worker: worker in self.alive,
        )

    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        """What it has sent is saved or not, like an answer."""
        number = data.draw(st.sampled_from(list(self.alive)))
        sent = self.alive.pop(number).sent
        if sent in self.saving and data.draw(st.booleans()):
            self.saving = [given for given in self.saving if given != sent]
        self.is_kept = False
        self.start_worker()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.directory)


TestOneProcess = OneProcess.TestCase
TestSeveralProcesses = SeveralProcesses.TestCase
TestOneProcess.settings = TestSeveralProcesses.settings = settings(
    max_examples=400, stateful_step_count=40, deadline=None, derandomize=True, database=None
)


def test_workers_that_start_at_once_share_a_new_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = threading.Barrier(6)

    def is_taken(number: int) -> bool:
        path = str(tmp_path / f"{number // start.parties}")
        ledger = SharedPredictionLedger(path, worker=number, is_alive=lambda _: True)
        start.wait()
        # Arrivals so far apart that they aren't pairs.
        return not ledger.begin([KEY], 10.0 * number, single=True)

    rounds = 20
    with ThreadPoolExecutor(start.parties) as pool:
        assert sum(pool.map(is_taken, range(rounds * start.parties))) == rounds
    assert not caplog.records


def test_killed_owner_releases_its_tasks(tmp_path: Path) -> None:
    """With a real process."""
    path = str(tmp_path / "ledger.sqlite")
    program = f"""
from yolo_backend.serving.ledger import PredictionKey
from yolo_backend.serving.shared_ledger import SharedPredictionLedger
SharedPredictionLedger({path!r}).begin([{KEY!r}], 0.0, single=False)
print(flush=True)
input()
"""
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    survivor = SharedPredictionLedger(path)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT_DIR, env=environment
    ) as owner:
        assert owner.stdout
        owner.stdout.readline()
        assert survivor.begin([KEY], 10.0, single=False) == {KEY}
        owner.kill()
        owner.wait()
        assert not survivor.begin([KEY], 10.0, single=False)
