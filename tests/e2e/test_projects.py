"""Whole projects predicted from the command line, as a real Label Studio holds them afterwards."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Asked, WebServer, answer

from .command import IMAGES, PHOTOS, Command, contents, number_of_tasks, project_of, run, settings_for
from .configs import codes_config
from .conftest import StartService
from .installation import REPOSITORY
from .label_studio import Json, LabelStudio
from .processes import ServerProcess

logger = logging.getLogger(__name__)

TASKS = number_of_tasks(240)
DELAY = 0.5  # seconds that an image takes to come, so that no machine is too fast to be killed on the way


@pytest.fixture(scope="module")
def label_studio(servers: list[ServerProcess], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A Label Studio of its own, since these tests stop it."""
    with LabelStudio(tmp_path_factory.mktemp("label-studio")) as running:
        servers.append(running.server)
        yield running
        servers.remove(running.server)


@pytest.fixture(scope="module")
def settings(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return settings_for(label_studio, tmp_path_factory.mktemp("data"))


def tasks_with_predictions(label_studio: LabelStudio, project: int) -> list[int]:
    """The places, from 0, of the tasks that have a prediction; none has two."""
    counts = [len(held) for held in label_studio.predictions(project).values()]
    assert set(counts) <= {0, 1}
    return [place for place, count in enumerate(counts) if count]


def test_killed_twice_with_label_studio_restarted_between(
    label_studio: LabelStudio,
    settings: dict[str, str],
    start_service: StartService,
    web: WebServer,
    tmp_path: Path,
) -> None:
    def slowly(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        time.sleep(DELAY)
        answer(handler, (PHOTOS / Path(urlsplit(asked.target).path).name).read_bytes())

    web.routes = {f"/{name}": slowly for name in IMAGES}
    project = project_of(label_studio, TASKS, prefix=f"{web.url}/")
    settings = {**settings, "MEDIA_HOSTS": "127.0.0.1", "FETCH_THREADS": "1"}
    commands = [tmp_path / f"{number}.txt" for number in range(3)]
    counts = [0]

    def has_posted(more: int = 0) -> bool:
        return label_studio.count_predictions(project) > counts[-1] + more

    for output in commands[:2]:
        command = Command(output, "predict", "--project", str(project), **settings)
        command.kill_when(lambda: has_posted(TASKS // 5))
        counts.append(label_studio.count_predictions(project))
    command = Command(commands[2], "predict", "--project", str(project), **settings)
    command.wait_until(has_posted)
    with label_studio.stopped():
        time.sleep(1)
    assert command.wait() == 0, command.output
    logger.info("%s predictions after each kill\n%s", counts[1:], command.output)
    assert "the next attempt is in" in command.output
    by_command = contents(label_studio.predictions(project))
    assert {len(held) for held in by_command.values()} == {1}

    # What the service would have saved, to the last byte.
    label_studio.delete_predictions(project)
    service = start_service(**settings)
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    while label_studio.count_predictions(project) < TASKS:
        time.sleep(0.5)
    assert contents(label_studio.predictions(project)) == by_command


def test_shards_make_what_one_process_makes(
    label_studio: LabelStudio, settings: dict[str, str], tmp_path: Path
) -> None:
    tasks = number_of_tasks(40)
    project = project_of(label_studio, tasks)
    assert run(tmp_path / "alone.txt", "predict", "--project", str(project), **settings)[0] == 0
    alone = contents(label_studio.predictions(project))
    assert {len(held) for held in alone.values()} == {1}
    label_studio.delete_predictions(project)
    commands = [
        Command(tmp_path / f"{shard}.txt", "predict", "--project", str(project), "--shard", f"{shard}/4", **settings)
        for shard in range(4)
    ]
    for command in commands:
        assert command.wait() == 0, command.output
        assert re.search(rf"^ +{tasks // 4}  predicted", command.output, re.MULTILINE), command.output
    logger.info("%s", [command.output for command in commands])
    assert contents(label_studio.predictions(project)) == alone


def test_which_tasks(label_studio: LabelStudio, settings: dict[str, str], tmp_path: Path) -> None:
    project = project_of(label_studio, 12)
    ids = [task["id"] for task in label_studio.tasks(project)]
    first = label_studio.call("POST", f"/api/tasks/{ids[0]}/annotations/", json={"result": []})
    assert first["task"] == ids[0]

    def where(operator: str, value: Json) -> dict[str, Json]:
        return {"filter": "filter:tasks:id", "operator": operator, "type": "Number", "value": value}

    either = label_studio.create_view(project, "or", where("equal", ids[1]), where("equal", ids[3]))
    both = label_studio.create_view(project, "and", where("greater", ids[3]), where("less", ids[6]))

    def predicted(*options: str) -> str:
        status, output = run(tmp_path / "output.txt", "predict", "--project", str(project), *options, **settings)
        assert status == 0, output
        return output

    assert "12 of 12 tasks would be predicted" in predicted("--dry-run")
    assert tasks_with_predictions(label_studio, project) == []
    predicted("--filter", str(either))
    assert tasks_with_predictions(label_studio, project) == [1, 3]
    predicted("--filter", str(both))
    assert tasks_with_predictions(label_studio, project) == [1, 3, 4, 5]
    predicted("--only-unlabeled", "--limit", "2")
    assert tasks_with_predictions(label_studio, project) == [1, 2, 3, 4, 5, 6]
    predicted("--only-unlabeled", "--filter", str(either))
    assert tasks_with_predictions(label_studio, project) == [1, 2, 3, 4, 5, 6]
    predicted()
    assert tasks_with_predictions(label_studio, project) == list(range(12))
    assert "nothing is left to predict of its 12 tasks" in predicted()
    # People who label begin with them.
    (shown,) = label_studio.predictions(project)[ids[1]]
    assert label_studio.call("GET", f"/api/projects/{project}")["model_version"] == shown["model_version"]


def test_failures_are_told_with_their_reasons(
    label_studio: LabelStudio, settings: dict[str, str], tmp_path: Path
) -> None:
    project = label_studio.create_project(codes_config())
    addresses = ["missing-1.jpg", "photo-01.jpg", "missing-2.jpg", "photo-02.jpg", "ftp://example.org/a.jpg"]
    data = [{"image": one if ":" in one else f"/data/local-files/?d={one}"} for one in addresses]
    first, _, second, _, third = label_studio.import_tasks(project, data)
    status, output = run(tmp_path / "output.txt", "predict", "--project", str(project), **settings)
    assert status == 1
    assert tasks_with_predictions(label_studio, project) == [1, 3]
    assert re.search(r"^ +2  predicted", output, re.MULTILINE)
    assert re.search(rf"^ +2  .*403.* \({first}, {second}\)$", output, re.MULTILINE)
    assert re.search(rf"^ +1  .*ftp: addresses are never opened \({third}\)$", output, re.MULTILINE)


def test_what_is_written_for_files_can_be_imported(
    label_studio: LabelStudio, settings: dict[str, str], tmp_path: Path
) -> None:
    config, out = REPOSITORY / "examples" / "BrushLabels.xml", tmp_path / "tasks.json"
    options: list[str | Path] = ["--config", config, "--out", out, "--root", PHOTOS]
    status, output = run(
        tmp_path / "output.txt", "predict", *(PHOTOS / name for name in IMAGES[:3]), *options, **settings
    )
    assert status == 0, output
    written = json.loads(out.read_text())
    project = label_studio.create_project(config.read_text())
    ids = label_studio.import_tasks(project, written)
    held = contents(label_studio.predictions(project))
    for task, one in zip(ids, written, strict=True):
        (prediction,) = one["predictions"]
        assert prediction["result"]
        assert held[task] == [(prediction["result"], prediction["score"], prediction["model_version"])]
    # They are predictions of the same version as the project's own.
    status, output = run(tmp_path / "again.txt", "predict", "--project", str(project), "--dry-run", **settings)
    assert "0 of 3 tasks would be predicted" in output


def test_what_keeps_it_from_starting(label_studio: LabelStudio, settings: dict[str, str], tmp_path: Path) -> None:
    project = project_of(label_studio, 1)
    unknown = label_studio.create_project(codes_config(labels={"giraffe": "Square code"}))

    def refused(*options: str, **other: str) -> tuple[int, str]:
        output = tmp_path / f"{time.monotonic()}.txt"
        status, said = run(output, "predict", *options, **{**settings, **other})
        return status, " ".join(said.split())

    for options, other, status, said in [
        (["--project", "99999"], {}, 2, "no project 99999"),
        (["--project", str(project), "--filter", "99999"], {}, 2, "no Data Manager view 99999; it has none"),
        (["--project", str(project), "--shard", "4/4"], {}, 2, "K from 0 to N-1"),
        (["--project", str(unknown)], {}, 2, "nothing in the labeling config can be filled in"),
        (["--project", str(project)], {"LABEL_STUDIO_API_KEY": "a" * 40}, 3, "LABEL_STUDIO_API_KEY was refused"),
        (["--project", str(project)], {"LABEL_STUDIO_URL": ""}, 2, "set LABEL_STUDIO_URL"),
        (["--project", str(project)], {"BATCH_SIZE": "many"}, 2, "BATCH_SIZE='many'"),
        ([], {}, 2, "--project"),
    ]:
        assert (found := refused(*options, **other))[0] == status, (options, other, found)
        assert said in found[1]
