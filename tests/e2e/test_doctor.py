"""`python -m yolo_backend doctor` beside a real Label Studio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .label_studio import LabelStudio
from .processes import free_port


def examine(tmp_path: Path, **settings: str) -> tuple[int, str]:
    """The exit status, and what was said."""
    command = [sys.executable, "-m", "yolo_backend", "doctor"]
    environment = {"PATH": os.environ["PATH"], "MODEL_DIR": str(tmp_path), **settings}
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    return done.returncode, done.stdout


def problems(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("PROBLEM")]


def test_all_is_well_then_the_service_is_gone(
    label_studio: LabelStudio, start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY=label_studio.personal_access_token)
    project = label_studio.create_project(codes_config(), title="Seen by the doctor")
    label_studio.upload(project, [REPOSITORY / "examples" / "images" / "photo-03.jpg"])
    label_studio.connect(project, service.url)
    settings = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.personal_access_token}
    _, said = examine(tmp_path, **settings)
    assert f"is that of {label_studio.username}" in said
    assert f"the backend {service.url} is connected" in said
    assert "an upload can be opened" in said
    service.server.stop()
    status, said = examine(tmp_path, **settings)
    assert status == 1
    (problem,) = [line for line in problems(said) if service.url in line]
    assert "(Seen by the doctor)" in problem
    assert "can't be reached by Label Studio" in problem


def test_what_is_wrong_is_named(label_studio: LabelStudio, tmp_path: Path) -> None:
    status, said = examine(tmp_path, LABEL_STUDIO_URL=f"http://127.0.0.1:{free_port()}", LABEL_STUDIO_API_KEY="a" * 40)
    assert status == 1
    assert "connection refused" in problems(said)[0]
    status, said = examine(tmp_path, LABEL_STUDIO_URL=f"{label_studio.url}/elsewhere", LABEL_STUDIO_API_KEY="a" * 40)
    assert status == 1
    assert problems(said)[0].startswith("PROBLEM  LABEL_STUDIO_URL")
    status, said = examine(tmp_path, LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY="a" * 40)
    assert status == 1
    assert "LABEL_STUDIO_API_KEY: Label Studio answers 401" in problems(said)[0]
    status, said = examine(tmp_path, LABEL_STUDIO_URL=label_studio.url)
    assert status == 1
    assert "LABEL_STUDIO_API_KEY is not set" in problems(said)[0]
    with label_studio.legacy_tokens_disabled():
        status, said = examine(
            tmp_path, LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY=label_studio.legacy_token
        )
    assert status == 1
    assert "personal access token" in said


def test_directories_and_settings(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    status, said = examine(tmp_path, MODEL_DIR=str(file / "data"), MODEL_ROOT=str(tmp_path / "nowhere"))
    assert status == 1
    assert [line.split()[1] for line in problems(said)] == ["MODEL_DIR:", "MODEL_ROOT:"]
    status, said = examine(tmp_path, PREDICT_DEADLINE="soon")
    assert status == 1
    assert "PREDICT_DEADLINE='soon'" in problems(said)[0]
    assert examine(tmp_path)[0] == 0
