"""The command line: what is written where, and the exit status; as a process where that makes a difference."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.e2e.processes import ServerProcess, answers, free_port
from tests.support.networks import Networks
from yolo_backend.cli.main import app
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR

EXAMPLES = PROJECT_DIR / "examples"
PHOTO = EXAMPLES / "images" / "photo-03.jpg"
CONFIG = EXAMPLES / "RectangleLabels.xml"


@pytest.fixture
def environment(tmp_path: Path, networks: Networks) -> dict[str, str]:
    """For a process, which finds a network for OpenVINO, so that it needs no PyTorch."""
    networks.give(tmp_path / "data", BUNDLED_MODELS / "demo-detect.pt")
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "MODEL_DIR": str(tmp_path / "data")}


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path) -> Iterator[Invoke]:
    """Runs a command in this process; what it does to logging and to signals is undone."""
    root, terminated = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level = root.handlers[:], root.level

    def command(*arguments: str | Path, **settings: str) -> Result:
        environment = {"MODEL_DIR": str(tmp_path / "data"), **settings}
        result = CliRunner().invoke(app, [*map(str, arguments)], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    yield command
    root.handlers, root.level = handlers, level
    logging.disable(logging.NOTSET)
    signal.signal(signal.SIGTERM, terminated)


@pytest.mark.slow
def test_files_with_a_failure(tmp_path: Path, environment: dict[str, str]) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    out, pictures = tmp_path / "tasks.json", tmp_path / "drawn"
    options: list[str | Path] = [
        "--config",
        CONFIG,
        "--out",
        out,
        "--save-images",
        pictures,
        "--root",
        "/",
        "--prefix",
        "http://files/",
    ]
    command = [sys.executable, "-m", "yolo_backend", "predict", *map(str, [PHOTO, text, *options])]
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    tasks = json.loads(out.read_text())
    assert [task["data"]["image"] for task in tasks] == [f"http://files{PHOTO}", f"http://files{text}"]
    assert [len(task.get("predictions", [])) for task in tasks] == [1, 0]
    assert "1  predicted in" in done.stdout
    assert "a text file, not an image" in done.stdout
    assert f"Task '{text.relative_to('/')}"[:40] in done.stderr
    assert (pictures / PHOTO.relative_to("/")).is_file()


def test_models_and_configs(invoke: Invoke, tmp_path: Path) -> None:
    listed = json.loads(invoke("models", "--json").stdout)
    assert "demo-detect.pt" in {one["name"] for one in listed}
    written = invoke("config", "demo-detect.pt")
    assert (written.exit_code, written.stderr) == (0, "")
    (tmp_path / "config.xml").write_text(written.stdout)
    assert invoke("config", "--check", tmp_path / "config.xml").exit_code == 0
    (tmp_path / "config.xml").write_text(written.stdout.replace("qr_code", "qr_kode"))
    checked = invoke("config", "--check", tmp_path / "config.xml")
    assert checked.exit_code == 1
    assert "nearest: qr_code" in checked.stdout


def test_settings_that_can_not_be_right_are_told(invoke: Invoke, tmp_path: Path) -> None:
    listed = invoke("models", MODEL_SCORE_TRESHOLD="0.3", MODEL_ROOT=str(tmp_path / "nowhere"))
    assert f"there is no directory {tmp_path / 'nowhere'}; only the bundled weights" in listed.stderr
    assert listed.stderr.count("is MODEL_SCORE_THRESHOLD meant?") == 1
    examined = invoke("doctor", MODEL_SCORE_TRESHOLD="0.3", DEFAULT_POSE_MODEL="/a.pt", DEFAULT_OBB_MODEL="../a.pt")
    assert examined.stdout.count("is MODEL_SCORE_THRESHOLD meant?") == 1
    assert examined.stdout.count("is not allowed") == 2
    assert examined.stdout.count("Set it to the name of a file.") == 1


@pytest.mark.parametrize("key", ['"0123456789abcdef"', "Token 0123456789abcdef"])
def test_a_key_that_is_more_than_a_token_is_told(invoke: Invoke, key: str) -> None:
    label_studio = {"LABEL_STUDIO_URL": "http://127.0.0.1:1", "LABEL_STUDIO_API_KEY": key}
    done = invoke("predict", "--project", "1", **label_studio)
    assert done.exit_code == 2
    assert "error: LABEL_STUDIO_API_KEY can't be used: copy the token alone" in done.stderr
    assert "0123456789abcdef" not in done.stderr


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started heeds SIGINT, also if the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_who_stops_it_is_told_what_becomes_of_the_work(
    tmp_path: Path, environment: dict[str, str], interruptible: None
) -> None:
    shutil.copyfile(PHOTO, tmp_path / "photo.jpg")
    for number in range(2000):
        (tmp_path / f"{number}.jpg").hardlink_to(tmp_path / "photo.jpg")
    out = tmp_path / "tasks.json"
    command = [
        sys.executable,
        "-m",
        "yolo_backend",
        "predict",
        str(tmp_path),
        "--config",
        str(CONFIG),
        "--out",
        str(out),
    ]
    with subprocess.Popen(
        [*command, "--root", "/"], cwd=PROJECT_DIR, env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size for file in tmp_path.glob(".tasks.json-*")):  # well under way
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said.splitlines()[-1]) == (130, "Stopped. Nothing is written to --out.")
    assert not out.exists()
    assert not list(tmp_path.glob(".tasks.json-*"))


def test_help_tells_what_is_taken_where_an_option_is_left_out(invoke: Invoke) -> None:
    for command, default in (("predict", "LOCAL_FILES_DOCUMENT_ROOT, or here"), ("config", "what shows best")):
        assert default in " ".join(invoke(command, "--help", COLUMNS="160").stdout.replace("│", " ").split())


@pytest.mark.slow
def test_serve_is_the_service(tmp_path: Path, environment: dict[str, str]) -> None:
    port = free_port()
    server = ServerProcess("serve", log=tmp_path / "log.txt")
    server.start(
        [sys.executable, "-m", "yolo_backend", "serve"],
        env=environment | {"PORT": str(port)},
        cwd=PROJECT_DIR,
        ready=lambda: answers(f"http://127.0.0.1:{port}/health"),
        timeout=60,
    )
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict"], "name either a project with --project, or files"),
        (["predict", PHOTO, "--project", "1"], "name either a project with --project, or files"),
        (["predict", PHOTO, "--dry-run"], "--dry-run is for --project"),
        (["predict", "--project", "1", "--out", "nowhere.json"], "--out is for files"),
        (["predict", PHOTO], "files need --config F.xml and --out tasks.json"),
        (["predict", "nowhere", "--config", CONFIG, "--out", "nowhere.json"], "there is no file or directory nowhere"),
        (["predict", PHOTO, "--config", "nowhere.xml", "--out", "nowhere.json"], "nowhere.xml can't be read"),
        (["predict", "--project", "1"], "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"),
        (["predict", PHOTO, "--config", CONFIG, "--out", EXAMPLES], "it is a directory"),
        (
            [
                "predict",
                PHOTO,
                "--config",
                CONFIG,
                "--out",
                "nowhere.json",
                "--root",
                EXAMPLES,
                "--save-images",
                EXAMPLES,
            ],
            "would overwrite",
        ),
        (["config", "nowhere.pt"], "there are no weights 'nowhere.pt'"),
        (["config"], "name either a model, or a labeling config with --check"),
    ],
)
def test_what_can_not_be_done_is_told_in_words(invoke: Invoke, arguments: list[str | Path], said: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (PROJECT_DIR / "nowhere.json").exists()
