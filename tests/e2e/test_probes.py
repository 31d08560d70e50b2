"""The probes of the Kubernetes manifests, asked as a kubelet asks: of a process that starts slowly, is busy, and ends."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deploy.manifests import container, of_kind, rendered

from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .service import Service

logger = logging.getLogger(__name__)

CONTAINER = container(rendered("cpu"))
SETTINGS = of_kind(rendered("cpu"), "ConfigMap")["data"]
OFTEN = 0.2  # seconds between two questions: a kubelet asks less often, and so misses what we see
PHOTO = (
    "data:image/jpeg;base64," + base64.b64encode((REPOSITORY / "examples/images/photo-03.jpg").read_bytes()).decode()
)

# Makes the YOLO library's import take longer, as on a slow disk. Python runs a module of this name at its start.
SLOW_IMPORT = """
import sys, time

class Slowly:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.meta_path.remove(self)
            time.sleep(6)
        return None

sys.meta_path.insert(0, Slowly())
"""


@dataclass
class Probe:
    """One probe of the manifest, and what it was answered: a status, or None for no answer in time."""

    name: str
    service: Service
    answers: list[int | None] = field(default_factory=list)
    slowest: float = 0

    @property
    def spec(self) -> dict[str, Any]:
        return CONTAINER[f"{self.name}Probe"]

    def ask(self) -> int | None:
        started = time.monotonic()
        try:
            with requests.Session() as session:
                session.trust_env = False
                url = f"{self.service.url}{self.spec['httpGet']['path']}"
                answer: int | None = session.get(url, timeout=self.spec["timeoutSeconds"]).status_code
        except requests.RequestException:
            answer = None
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.answers.append(answer)
        return answer

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask again and again, as long as the context lasts."""
        done = threading.Event()

        def ask() -> None:
            while not done.wait(OFTEN):
                self.ask()

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            try:
                yield
            finally:
                done.set()
                asked.result()

    def failures_in_a_row(self) -> int:
        return max(
            (len(list(run)) for failed, run in groupby(self.answers, lambda one: one != 200) if failed), default=0
        )


def predict(service: Service, number: int, images: int = 8) -> list[Any]:
    """Ask for tasks that no other request has; ``number`` is the request's."""
    ids = range(100 * number, 100 * number + images)
    tasks = [{"id": task, "data": {"image": PHOTO, "number": task}} for task in ids]
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{service.url}/predict",
            json={"tasks": tasks, "project": "1.1", "label_config": codes_config()},
            timeout=120,
        )
    answer.raise_for_status()
    return answer.json()["results"]


def test_a_slow_start_is_given_time_and_gets_no_requests(start_service: StartService, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    service = start_service(PYTHONPATH=str(tmp_path))  # returns as soon as /health answers
    startup, liveness = Probe("startup", service), Probe("liveness", service)
    started = time.monotonic()
    allowed = startup.spec["periodSeconds"] * startup.spec["failureThreshold"]
    with liveness.asking():
        while startup.ask() != 200:
            assert time.monotonic() - started < allowed, "the kubelet would have started it anew"
            time.sleep(OFTEN)
    logger.info("ready %.1f s after the first answer of /health", time.monotonic() - started)
    assert startup.answers[0] == 503, "it was not slow"
    assert set(startup.answers) <= {503, 200}
    assert set(liveness.answers) == {200}, "it lives all the time"
    assert len(predict(service, 0, images=1)) == 1


def test_a_busy_service_stays_alive_and_ready(start_service: StartService) -> None:
    service = start_service()
    startup = Probe("startup", service)
    while startup.ask() != 200:
        time.sleep(OFTEN)
    liveness, readiness = Probe("liveness", service), Probe("readiness", service)
    until = time.monotonic() + 10

    def click_on_and_on(client: int) -> int:
        number = 0
        while time.monotonic() < until:
            assert all(predict(service, 1000 * client + number))
            number += 1
        return number

    with liveness.asking(), readiness.asking(), ThreadPoolExecutor(8) as clients:
        answered = sum(clients.map(click_on_and_on, range(8)))
    for probe in (liveness, readiness):
        logger.info("%s: %d answers, the slowest after %.2f s", probe.name, len(probe.answers), probe.slowest)
        assert len(probe.answers) > 10
        assert probe.failures_in_a_row() < probe.spec["failureThreshold"]
    logger.info("beside %d predict requests of 8 images", answered)
    assert answered > 0


def test_a_pod_that_goes_answers_all_that_it_has(start_service: StartService) -> None:
    """The order of a kubelet: preStop, SIGTERM, and SIGKILL when the grace period is over."""
    before = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = of_kind(rendered("cpu"), "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    service = start_service(app="tests.e2e.faults:app", FAULTS_SECONDS="0.2", **_without_directories(SETTINGS))
    startup = Probe("startup", service)
    while startup.ask() != 200:
        time.sleep(OFTEN)
    with ThreadPoolExecutor(2) as clients:
        # With nobody to post to, an answer that comes short is lost.
        early = clients.submit(predict, service, 0, 35)
        time.sleep(1)
        told = time.monotonic()
        time.sleep(before)
        late = clients.submit(predict, service, 1, 20)  # from a node that doesn't know yet
        time.sleep(1)
        assert not late.done()
        status = service.server.stop(timeout=grace - before)
        logger.info("ended %.1f s after preStop began, of %d", time.monotonic() - told, grace)
        assert status == 0
        assert all(early.result())
        assert all(late.result()), "an answer was cut short"
    with pytest.raises(requests.ConnectionError):
        predict(service, 2)


def _without_directories(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in {"MODEL_ROOT", "MODEL_DIR"}}
