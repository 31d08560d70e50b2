"""A real Prometheus scrapes the running service and evaluates our alert rules and every panel of the dashboard."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .processes import ServerProcess, answers, free_port
from .service import Service

MONITORING = REPOSITORY / "deploy" / "monitoring"
ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def command(name: str) -> str:
    found = shutil.which(name)
    assert found, (
        f"there is no {name}: install Debian's package `prometheus`, or Prometheus 2.42 or newer from elsewhere"
    )
    return found


def promtool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([command("promtool"), *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Every alert, on numbers that are made up


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ",".join(f'{key}="{value}"' for key, value in {"instance": "a", "job": "yolo-backend", **labels}.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


HEALTHY = [
    series("up", "1x120"),
    series("yolo_backend_workers_ready", "1x120"),
    series("yolo_backend_requests_total", "0+60x120", route="/predict", status="200"),
    series("yolo_backend_requests_total", "0+1x120", route="/predict", status="503"),
    series("yolo_backend_requests_refused_total", "0x120"),
    series("yolo_backend_tasks_total", "0+95x120", outcome="predicted", reason=""),
    series("yolo_backend_tasks_total", "0+5x120", outcome="failed", reason="media"),
    series("yolo_backend_tasks_asked_total", "0+100x120", cache="miss"),
    series("yolo_backend_tasks_late_total", "0+10x120"),
    series("yolo_backend_predictions_to_post", "5x120"),
    series("yolo_backend_predictions_posted_total", "0+10x120", outcome="posted"),
    series("yolo_backend_predictions_posted_total", "0x120", outcome="refused"),
    series("yolo_backend_post_retries_total", "0+1x120"),
    series("yolo_backend_model_loads_total", "4x120", outcome="loaded"),
    series("yolo_backend_model_loads_total", "0x120", outcome="failed"),
]
BROKEN = {
    "YoloBackendDown": [series("up", "0x120")],
    "YoloBackendNotReady": [series("yolo_backend_workers_ready", "0x120")],
    "YoloBackendErrors": [series("yolo_backend_requests_total", "0+1x120", route="/predict", status="500")],
    "YoloBackendTasksFail": [series("yolo_backend_tasks_total", "0+50x120", outcome="failed", reason="weights")],
    "YoloBackendRefuses": [series("yolo_backend_requests_refused_total", "0+1x120")],
    "YoloBackendLate": [series("yolo_backend_tasks_late_total", "0+50x120")],
    "YoloBackendCannotPost": [series("yolo_backend_predictions_posted_total", "0x120", outcome="posted")],
    "YoloBackendPostsRefused": [
        series("yolo_backend_predictions_posted_total", "0x110 1 1 1 1 1 1 1 1 1 1", outcome="refused")
    ],
    "YoloBackendWeightsFail": [series("yolo_backend_model_loads_total", "0x110 1 1 1 1 1 1 1 1 1 1", outcome="failed")],
}


def firing(broken: list[dict[str, str]], expected: str | None) -> dict[str, Any]:
    """A test of promtool's: two hours in which all is well but what is broken, and the one alert of it."""
    replaced = {one["series"] for one in broken}
    names = [{"labels": f'{{alertname="{expected}"}}', "value": 1}] if expected else []
    return {
        "name": expected or "all is well",
        "interval": "1m",
        "input_series": [one for one in HEALTHY if one["series"] not in replaced] + broken,
        "promql_expr_test": [
            {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "2h", "exp_samples": names}
        ],
    }


def test_each_alert_is_raised_by_its_cause_and_no_other(tmp_path: Path) -> None:
    assert BROKEN.keys() == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    tests = [firing([], None), *(firing(broken, name) for name, broken in BROKEN.items())]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": [str(MONITORING / "alerts.yml")], "evaluation_interval": "1m", "tests": tests})
    )
    promtool("test", "rules", "tests.yml", cwd=tmp_path)


def test_the_rules_and_both_configurations_are_valid(tmp_path: Path) -> None:
    promtool("check", "rules", "alerts.yml", cwd=MONITORING)
    promtool("check", "config", "prometheus.yml", cwd=MONITORING)
    # Debian's Prometheus is built without what finds pods; the rest of that job is checked.
    configuration = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    promtool("check", "config", "prometheus.yml", cwd=tmp_path)


# The real server


class Prometheus:
    """Prometheus with our configuration, made faster, and with alerts that don't wait."""

    def __init__(self, directory: Path, service: Service) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._directory = directory
        self.server = ServerProcess("Prometheus", log=directory / "prometheus.log")
        configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
        (job,) = configuration["scrape_configs"]
        job["static_configs"][0]["targets"] = [service.url.removeprefix("http://")]
        assert service.basic_auth
        job["basic_auth"] = dict(zip(("username", "password"), service.basic_auth, strict=True))
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
        (directory / "alerts.yml").write_text(re.sub(r"^( +for:) \d+m$", r"\1 0s", rules, flags=re.MULTILINE))

    @contextmanager
    def running(self) -> Iterator[Prometheus]:
        self.server.start(
            [command("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
            + [f"--web.listen-address={self.url.removeprefix('http://')}"],
            env=dict(os.environ),
            cwd=self._directory,
            ready=lambda: answers(f"{self.url}/-/ready"),
            timeout=60,
        )
        try:
            yield self
        finally:
            self.server.stop()

    def get(self, path: str, **parameters: str) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self.get("query", query=expression)["result"]

    def alerts(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}


def until(condition: Callable[[], object], what: str, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)


@pytest.fixture
def service(start_service: StartService) -> Service:
    return start_service(WORKERS="2", BASIC_AUTH_USER="annotator", BASIC_AUTH_PASS="right")


def predict(service: Service, images: list[str], batch: int) -> None:
    """Ask for a task per image, each of its own data."""
    tasks = [{"id": index, "data": {"image": image, "name": f"{batch}-{index}"}} for index, image in enumerate(images)]
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{service.url}/predict",
            json={"tasks": tasks, "project": "1.1", "label_config": codes_config()},
            auth=service.basic_auth,
            timeout=60,
        )
    answer.raise_for_status()


def test_prometheus_scrapes_the_service(servers: list[ServerProcess], service: Service, tmp_path: Path) -> None:
    prometheus = Prometheus(tmp_path, service)
    servers.append(prometheus.server)
    photo = (REPOSITORY / "examples" / "images" / "photo-01.jpg").read_bytes()
    image = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    with prometheus.running():
        until(lambda: prometheus.query("sum(yolo_backend_workers_ready) == 2"), "two workers that are ready")
        until(lambda: not prometheus.alerts(), "no alert")
        predict(service, [image] * 4, 0)
        until(lambda: prometheus.query("sum(yolo_backend_tasks_total) == 4"), "four tasks")
        predict(service, [image] * 2 + ["data:image/jpeg;base64,bm90IGFuIGltYWdl"] * 2, 1)
        until(lambda: prometheus.query("sum(yolo_backend_tasks_total) == 8"), "eight tasks")
        time.sleep(2)  # for a rate, two scrapes later

        empty = []
        for panel in DASHBOARD["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
                if not prometheus.query(expression):
                    empty.append(f"{panel['title']}: {expression}")
        assert not empty, "panels without anything to show"

        until(lambda: prometheus.alerts() == {"YoloBackendTasksFail"}, "the alert of failing tasks")
        service.server.stop()
        until(lambda: "YoloBackendDown" in prometheus.alerts(), "the alert of a service that is gone")
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert {(rule["name"], rule["health"]) for rule in rules} == {(name, "ok") for name in BROKEN}
    servers.remove(prometheus.server)
