"""`/metrics` of the real server with several worker processes."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import requests

from .conftest import StartService
from .service import Service


def value(service: Service, pattern: str) -> float:
    """The value of the one metric whose name and labels match."""
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(f"{service.url}/metrics", timeout=10).text
    found = re.findall(rf"^{pattern} (\S+)$", text, flags=re.MULTILINE)
    assert len(found) == 1, text
    return float(found[0])


def until(service: Service, pattern: str, expected: float) -> None:
    deadline = time.monotonic() + 60
    while (now := value(service, pattern)) != expected:
        assert time.monotonic() < deadline, f"{pattern}: {now}, expected {expected}"
        time.sleep(0.2)


def test_workers_are_added_up_and_a_dead_one_is_kept_in_the_counters_alone(start_service: StartService) -> None:
    service = start_service(WORKERS="2", GRACEFUL_TIMEOUT="5")
    until(service, "yolo_backend_workers_ready", 2)
    requests_of_health = r'yolo_backend_requests_total\{route="/health",status="200"\}'
    before = value(service, requests_of_health)
    for _ in range(20):  # a connection each, so that both workers get some
        requests.get(f"{service.url}/health", timeout=10)
    assert value(service, requests_of_health) == before + 20
    killed = service.server.children()[0]
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while killed in (workers := service.server.children()) or len(workers) < 2:
        assert time.monotonic() < deadline, "there is no new worker"
        time.sleep(0.1)
    until(service, "yolo_backend_workers_ready", 2)
    assert value(service, requests_of_health) == before + 20
    files = set(re.findall(r"/\S+/yolo-backend-\w+", Path(f"/proc/{workers[0]}/maps").read_text()))
    assert len(files) == 1
    assert service.server.stop() == 0
    assert not Path(files.pop()).exists(), "the files of the metrics are left behind"
