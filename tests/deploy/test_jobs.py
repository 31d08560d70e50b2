"""The Kubernetes Job that predicts a whole project, against Kubernetes' schemas and against the command line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.manifests import MANIFESTS, Manifest, kustomized, of_kind, rendered
from yolo_backend import __version__
from yolo_backend.cli.terminal import Exit
from yolo_backend.settings import Settings
from yolo_backend.settings.environment import environment_name


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return kustomized(MANIFESTS / "jobs" / "predict-project")


@pytest.fixture
def job(manifests: list[Manifest]) -> Any:
    return of_kind(manifests, "Job")["spec"]


@pytest.mark.parametrize("version", ["1.30", "1.32", "1.34", kubernetes_validate.latest_version()])
def test_it_is_valid(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_each_index_predicts_its_own_part(job: Any, tmp_path: Path) -> None:
    (container,) = job["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert job["completionMode"] == "Indexed"
    assert environment["SHARDS"] == str(job["completions"])
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    said = [
        subprocess.run(
            [*container["command"], *container["args"]],
            env={**environment, "JOB_COMPLETION_INDEX": str(index), "PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for index in range(job["completions"])
    ]
    assert said == [f"-m yolo_backend predict --project 1 --shard {index}/16" for index in range(16)]


def test_only_what_mends_itself_is_tried_again(job: Any) -> None:
    ignored, final = job["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    (container,) = job["template"]["spec"]["containers"]
    assert final["action"] == "FailIndex"
    assert final["onExitCodes"] == {
        "containerName": container["name"],
        "operator": "In",
        "values": [Exit.SOME_FAILED, Exit.NOT_STARTED],
    }


def test_it_runs_as_the_service_does(manifests: list[Manifest], job: Any) -> None:
    service = of_kind(rendered("cpu"), "Deployment")["spec"]["template"]["spec"]
    pod = job["template"]["spec"]
    for same in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "volumes"):
        assert pod[same] == service[same]
    for same in ("image", "securityContext", "volumeMounts"):
        assert pod["containers"][0][same] == service["containers"][0][same]
    assert pod["containers"][0]["image"] == f"yolo-backend:{__version__}"
    settings = of_kind(manifests, "ConfigMap")
    (by_map, by_secret) = pod["containers"][0]["envFrom"]
    assert by_map["configMapRef"]["name"] == settings["metadata"]["name"]
    assert by_secret["secretRef"]["name"] == "yolo-secret"
    names = {environment_name(field) for field in Settings.model_fields}
    assert set(settings["data"]) <= names
    deployed = of_kind(rendered("cpu"), "ConfigMap")["data"]
    assert all(deployed[name] == value for name, value in settings["data"].items())


def test_the_page_names_what_is_there() -> None:
    page = (MANIFESTS.parents[1] / "docs" / "command-line.md").read_text(encoding="utf-8")
    for path in re.findall(r"deploy/kubernetes/jobs/[\w-]+", page):
        assert (MANIFESTS.parents[1] / path).is_dir()
    assert "deploy/kubernetes/jobs/predict-project" in page
