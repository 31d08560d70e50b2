"""`pip install ./sdk .`: the package has what the repository has, and works in any directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from yolo_backend import __version__
from yolo_backend.settings import Settings
from yolo_backend.settings.environment import environment_name

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
INSIDE = "yolo_backend/_project/"
"""Where a wheel has what is at the top level of the repository."""


def built(project: Path, directory: Path) -> Path:
    """The wheel of a project, made in ``directory``."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(files.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("installed")
    sdk = built(ROOT / "sdk", tmp_path_factory.mktemp("sdk"))
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--disable-pip-version-check"]
    # pip asks a Rust compiler for its version, and rustup's stand-in for one writes into the home directory.
    home = os.environ | {"HOME": str(tmp_path_factory.mktemp("home"))}
    command = [*pip, "--no-deps", "--no-index", "--target", str(directory), str(sdk), str(wheel)]
    subprocess.run(command, check=True, env=home)
    return directory


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """The command, in a directory of the user's own."""

    def run_command(*arguments: str, **environment: str) -> str:
        settings = {environment_name(field) for field in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in settings}
        done = subprocess.run(
            [installed / "bin" / "yolo-backend", *arguments],
            cwd=tmp_path,
            env=kept | {"PYTHONPATH": str(installed), "RUNTIME": "pytorch"} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_command


def listed(*files: str) -> set[str]:
    """What requirements files ask for, each as pip writes it."""
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {str(Requirement(line)) for line in lines if line and line[0] not in "#-."}


def test_version_has_one_source(metadata: Message) -> None:
    assert metadata["Name"] == "yolo-backend"
    assert metadata["Version"] == __version__


def test_dependencies_are_those_of_the_requirements_files(metadata: Message) -> None:
    required: dict[str, set[str]] = {"": set(), "ray": set(), "train": set()}
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, extra = line.partition("; extra == ")
        required[extra.strip("'")].add(str(Requirement(requirement)))
    assert required == {
        "": listed("requirements.txt") | {"label-studio-ml<3,>=2"},
        "ray": listed("requirements-ray.txt"),
        "train": listed("models/requirements-train.txt"),
    }


def test_wheel_has_the_package_and_the_top_level(wheel: Path) -> None:
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "yolo_backend").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    weights = {path.name for path in (ROOT / "models").glob("demo-*.pt")}
    top_level = {
        "_wsgi.py",
        "gunicorn.conf.py",
        "model.py",
        "models/README.md",
        *(f"models/{name}" for name in weights),
    }
    with ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
    assert len(weights) == 5
    assert names == package | {INSIDE + name for name in top_level}


def test_bundled_weights_predict_in_any_directory(run: Callable[..., str], tmp_path: Path) -> None:
    image, config = EXAMPLES / "images" / "photo-02.jpg", EXAMPLES / "RectangleLabels.xml"
    run("predict", str(image), "--root", str(EXAMPLES), "--config", str(config), "--out", "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    (prediction,) = task["predictions"]
    truth = json.loads((EXAMPLES / "images" / "truth.json").read_text(encoding="utf-8"))[image.name]["objects"]
    assert len(prediction["result"]) == len(truth) == 2


def test_own_weights_and_data_are_where_the_command_runs(run: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "models" / "demo-detect.pt", tmp_path / "models" / "mine.pt")
    findings = run("doctor")
    assert f"MODEL_DIR: {tmp_path / 'data'} can be written" in findings
    assert re.search("weights that are there: .*demo-detect.pt, .*mine.pt", findings)


def test_service_starts_whatever_files_are_beside_it(run: Callable[..., str], tmp_path: Path) -> None:
    for name in ("model.py", "_wsgi.py"):
        (tmp_path / name).write_text("raise SystemExit('this file is the user’s own')")
    # Loads the application, prints what gunicorn works with, and ends.
    config = run("serve", GUNICORN_CMD_ARGS="--print-config")
    assert re.search(rf"^chdir += {re.escape(str(tmp_path))}$", config, re.MULTILINE), "relative paths count from there"
