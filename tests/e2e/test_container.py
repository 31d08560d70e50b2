"""The whole way once more as in a container: not root, nothing but the volumes to write to, behind a password."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.test_container import ROOT, copied_into_image

from .configs import codes_config
from .container import USER, can_contain, contained
from .label_studio import LabelStudio
from .processes import ServerProcess
from .service import Service
from .test_retrieve_predictions import assert_match_the_truth
from .truth import sample_images

BASIC_AUTH = ("annotator", "right:with@signs/")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory that other users may enter, with the files of the image in it as root left them."""
    if not can_contain():
        pytest.skip("only root can become another user and make a file system of its own")
    path = Path(tempfile.mkdtemp(prefix="yolo-backend-container-"))
    path.chmod(0o755)
    for name in copied_into_image():
        copy = path / "code" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for name in ("root", "models", "data"):
        (path / name).mkdir()
    for name in ("models", "data"):
        os.chown(path / name, USER, USER)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def container(
    home: Path, label_studio: LabelStudio, servers: list[ServerProcess], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = {
        "BASIC_AUTH_USER": BASIC_AUTH[0],
        "BASIC_AUTH_PASS": BASIC_AUTH[1],
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.personal_access_token,
        "LOG_LEVEL": "DEBUG",
        # What the Dockerfile sets.
        "MODEL_ROOT": "/app/models",
        "MODEL_DIR": "/data/models",
        "HOME": "/tmp",
        "LOGNAME": "yolo",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    volumes = {"/app/models": home / "models", "/data": home / "data"}
    service = Service(
        tmp_path_factory.mktemp("container"),
        settings,
        within=lambda command: contained(command, root=home / "root", code=home / "code", volumes=volumes),
    )
    servers.append(service.server)
    with service:
        yield service
    servers.remove(service.server)


def test_predictions_match_the_truth(label_studio: LabelStudio, container: Service) -> None:
    project = label_studio.create_project(codes_config())
    tasks = label_studio.upload(project, sample_images())
    label_studio.connect(project, container.url, basic_auth=BASIC_AUTH)
    label_studio.retrieve_predictions(project)
    assert_match_the_truth(tasks, label_studio.predictions(project))
    assert "Read-only file system" not in container.log
    assert "Permission denied" not in container.log


def test_the_container_is_one(home: Path, container: Service) -> None:
    for process in (container.server.pid, *container.server.children()):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        assert status["Uid"].split() == [str(USER)] * 4
        assert status["NoNewPrivs"] == "1"
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        mounts = [line.split() for line in Path(f"/proc/{process}/mounts").read_text().splitlines()]
        writable = {place for _, place, kind, options, *_ in mounts if "rw" in options.split(",") and kind != "proc"}
        devices = {place for place in writable if place.startswith("/dev/") and place != "/dev/shm"}
        inside = {"/app/models", "/data", "/tmp", "/dev/shm"}
        assert {place for place in writable - devices if not place.startswith("/proc/")} == inside
    assert (home / "code").stat().st_uid == 0
    assert list((home / "data").rglob("cache.db"))


@pytest.mark.parametrize("in_address", [True, False])
def test_a_password_in_the_address_reaches_events_and_one_beside_it_does_not(
    label_studio: LabelStudio, container: Service, in_address: bool
) -> None:
    url = container.url.replace("://", "://annotator:right%3Awith%40signs%2F@") if in_address else container.url
    project = label_studio.create_project(codes_config())
    label_studio.connect(project, url, basic_auth=None if in_address else BASIC_AUTH)
    before = version(container, project)
    label_studio.change_config(project, codes_config(threshold=0.3))
    # The service has asked Label Studio for the new labeling config, with its own key.
    until(lambda: version(container, project) != before)
    lines = [line for line in container.log.splitlines() if f"Event PROJECT_UPDATED of project '{project}." in line]
    assert [line.endswith(", without a password") for line in lines] == [not in_address]


def version(service: Service, project: int) -> str:
    return service.status()["projects"][str(project)]["model_version"]
