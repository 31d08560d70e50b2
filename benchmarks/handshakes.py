"""How fast `/health` and `/setup` answer while the service is as busy as it can be.

    PYTHONPATH=. python benchmarks/handshakes.py
    PYTHONPATH=. python benchmarks/handshakes.py --seconds 20 --clients 4

Starts the service, then clients that ask for predictions without a pause, each of pictures that nobody asked for before,
while both handshakes are asked 20 times a second.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests

from tests.e2e.configs import codes_config
from tests.e2e.service import Service

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"
RATE = 20  # requests per second of each kind
TASKS = 8  # in each predict request


@dataclass
class Answers:
    """Milliseconds of those that came, and what went wrong with the others."""

    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, session: requests.Session, method: str, url: str, body: Any = None) -> None:
        """Send one request and note how it went."""
        started = time.perf_counter()
        try:
            answer = session.request(method, url, json=body, timeout=120)
            answer.raise_for_status()
        except requests.RequestException as error:
            self.errors.append(type(error).__name__)
        else:
            self.milliseconds.append(1000 * (time.perf_counter() - started))

    def row(self, name: str) -> str:
        """Return the row of the table."""
        middle, slow, slowest = np.percentile(self.milliseconds, [50, 99, 100]) if self.milliseconds else [np.nan] * 3
        return f"| {name} | {len(self.milliseconds)} | {middle:.1f} | {slow:.1f} | {slowest:.1f} | {len(self.errors)} |"


def megabytes(process: int) -> float:
    """Return the memory of a process that nothing else holds as well."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def measure(seconds: float, clients: int, settings: dict[str, str]) -> None:
    """Print the table."""
    config, numbers, end = codes_config(), itertools.count(), threading.Event()
    names = sorted(path.name for path in IMAGES.glob("*.jpg"))
    predicted, health, setup = Answers(), Answers(), Answers()
    with (
        tempfile.TemporaryDirectory() as directory,
        Service(Path(directory), {"LOCAL_FILES_DOCUMENT_ROOT": str(IMAGES), **settings}) as service,
    ):

        def predict() -> None:
            with requests.Session() as session:
                while not end.is_set():
                    tasks = [
                        {"id": n, "data": {"image": f"/data/local-files/?d={names[n % len(names)]}", "n": n}}
                        for n in itertools.islice(numbers, TASKS)
                    ]
                    predicted.ask(session, "POST", f"{service.url}/predict", {"tasks": tasks, "label_config": config})

        def handshake(answers: Answers, method: str, path: str, body: Any = None) -> Callable[[], None]:
            def ask() -> None:
                with requests.Session() as session:
                    due = time.monotonic()
                    while not end.is_set():
                        answers.ask(session, method, service.url + path, body)
                        due += 1 / RATE
                        time.sleep(max(0.0, due - time.monotonic()))

            return ask

        (worker,) = service.server.children()
        before = megabytes(worker)
        with ThreadPoolExecutor(clients + 2) as pool:
            asked = {"schema": config, "project": "1.1", "hostname": "http://127.0.0.1:8080", "access_token": ""}
            jobs = [predict] * clients
            jobs += [handshake(health, "GET", "/health"), handshake(setup, "POST", "/setup", asked)]
            running = [pool.submit(job) for job in jobs]
            time.sleep(seconds / 2)
            halfway = megabytes(worker)
            time.sleep(seconds / 2)
            end.set()
            for job in running:
                job.result()
        after = megabytes(worker)
    print("| request | answers | p50 ms | p99 ms | slowest ms | errors |\n| --- | --- | --- | --- | --- | --- |")
    for name, answers in (("/health", health), ("/setup", setup), (f"/predict, {TASKS} images", predicted)):
        print(answers.row(name))
    print(f"\nMemory of the worker: {before:.0f} MB at the start, {halfway:.0f} MB halfway, {after:.0f} MB at the end.")
    print(f"{TASKS * len(predicted.milliseconds) / seconds:.1f} images per second.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the service")
    arguments = parser.parse_args()
    measure(arguments.seconds, arguments.clients, dict(one.split("=", 1) for one in arguments.set))
