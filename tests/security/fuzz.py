"""Fuzz the service that runs: ``python -m tests.security.fuzz`` sends 5,000 requests made from ``/openapi.json``.

schemathesis makes them, right and wrong ones, and holds the answers against the document. Few of those have a picture where
their labeling config looks for one, so hypothesis makes such predict requests after that. The service runs under gunicorn
as in production, behind a password, its log at DEBUG.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import requests
from hypothesis import HealthCheck

from tests.e2e.service import Service
from tests.security.strategies import predict_requests
from tests.support.networks import Networks
from yolo_backend.settings import BUNDLED_MODELS

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD = "annotator", "fuzzed password"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth"),
)
"""Not ``negative_data_rejection``: the service takes more than is described, for instance fields that it doesn't know."""

HANG = 60  # seconds for one answer


@dataclass
class Outcome:
    """What came of it."""

    requests: int
    statuses: Counter[str]
    seconds: float
    predicted: int  # tasks of hypothesis' requests that a model has looked at
    failures: str  # of the checks, in words; empty if there are none
    tracebacks: list[str]
    megabytes: list[float] = field(default_factory=list)
    """Resident memory of the worker, one number every half second."""


def fuzz(directory: Path, *, examples: int, seed: int) -> Outcome:
    """Send so many examples per operation, and about as many more that schemathesis always tries."""
    settings = {
        "BASIC_AUTH_USER": USER,
        "BASIC_AUTH_PASS": PASSWORD,
        "LOG_LEVEL": "DEBUG",
        "CONNECT_TIMEOUT": "1",
        "DOWNLOAD_TIMEOUT": "2",
        "PREDICT_DEADLINE": "20",
    }
    networks = Networks(directory / "data")
    for weights in BUNDLED_MODELS.glob("*.pt"):
        networks.make(weights)  # else they would be made meanwhile
    with Service(directory, settings) as service:
        memory: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            (worker,) = service.server.children()
            while not stop.wait(0.5):
                pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
                memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{service.url}/openapi.json",
                "--auth",
                f"{USER}:{PASSWORD}",
            ]
            + ["--phases"]
            + ["examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--max-examples", str(examples)]
            + [
                "--request-timeout",
                str(HANG),
                "--seed",
                str(seed),
                "--continue-on-failure",
                "--no-shrink",
                "--no-color",
            ]
            + ["--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none"],
            env=os.environ
            | {
                "SCHEMATHESIS_HOOKS": "tests.security.schema_hooks",
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            },
            cwd=directory,
            capture_output=True,
            text=True,
        )
        predicted = _predict(service, examples=examples, seed=seed)
        seconds = time.monotonic() - started
        stop.set()
        watcher.join()
        log = service.log
    statuses = Counter(re.findall(r'gunicorn\.access: \S+ "[^"]*" (\d+) ', log))
    tracebacks = [line for line in log.splitlines() if "Traceback" in line]
    failures = "" if run.returncode == 0 else run.stdout[-6000:] + run.stderr[-3000:]
    return Outcome(
        requests=sum(statuses.values()),
        statuses=statuses,
        seconds=seconds,
        predicted=predicted,
        failures=failures,
        tracebacks=tracebacks,
        megabytes=memory,
    )


def _predict(service: Service, *, examples: int, seed: int) -> int:
    """Ask for predictions with pictures, and see that each task has its item in the answer; return how many are predicted."""
    predicted = 0
    with requests.Session() as http:
        http.trust_env = False
        http.auth = (USER, PASSWORD)

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @hypothesis.given(predict_requests())
        def ask(body: dict[str, Any]) -> None:
            nonlocal predicted
            answer = http.post(f"{service.url}/predict", data=json.dumps(body), timeout=HANG)
            assert answer.status_code == 200, answer.text
            results = answer.json()["results"]
            assert len(results) == len(body["tasks"])
            predicted += sum(map(bool, results))

        ask()
    return predicted


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=900, help="per operation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = fuzz(Path(directory), examples=options.examples, seed=options.seed)
    memory = outcome.megabytes
    tenth = max(1, len(memory) // 10)
    statuses = ", ".join(f"{number} × {status}" for status, number in sorted(outcome.statuses.items()))
    print(f"{outcome.requests} requests in {outcome.seconds:.0f} s: {statuses}; {outcome.predicted} tasks predicted")
    peaks = [round(max(memory[start : start + tenth])) for start in range(0, len(memory), tenth)]
    print("memory by tenths of the time, MB:", *peaks)
    print("\n".join(outcome.tracebacks[:50]) or "no traceback and no error in the log")
    print(outcome.failures or "no check has failed")
    sys.exit(bool(outcome.failures or outcome.tracebacks))


if __name__ == "__main__":
    main()
