"""The command: what ``create`` makes passes its own test, and ``start`` serves it."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from label_studio_ml import server
from label_studio_ml.server import main, sdk_requirement

FILES = {
    "Dockerfile",
    ".dockerignore",
    "docker-compose.yml",
    "model.py",
    "_wsgi.py",
    "README.md",
    "requirements-base.txt",
    "requirements-test.txt",
    "requirements.txt",
    "test_api.py",
}

SCRIPT = """
from label_studio_ml import model
from label_studio_ml.response import ModelResponse

class Helper:
    pass

class Cats(model.LabelStudioMLBase):
    def predict(self, tasks, context=None, **kwargs):
        return ModelResponse(predictions=[{"result": [], "score": 0.25} for _ in tasks])
"""


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run_tests(directory: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made(directory: str | Path) -> dict[str, str]:
    files = sorted(file for file in Path(directory).iterdir() if file.is_file())
    return {file.name: file.read_text(encoding="utf-8") for file in files}


@pytest.mark.parametrize("command", ["create", "init"])
def test_a_project_is_made_of_the_files_that_the_documentation_lists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "my_ml_backend"]) == 0
    files = made("my_ml_backend")
    assert set(files) == FILES
    assert "label-studio-ml start my_ml_backend" in capsys.readouterr().out
    for name, text in files.items():
        assert not re.search(r"@[A-Z_]+@", text), name
        assert text.endswith("\n"), name
    for name in ("model.py", "_wsgi.py", "test_api.py"):
        ast.parse(files[name])
    assert "class NewModel(LabelStudioMLBase)" in files["model.py"]
    assert sdk_requirement() in files["requirements-base.txt"].splitlines()


@pytest.mark.slow
def test_what_create_makes_passes_its_own_test() -> None:
    main(["create", "my_ml_backend"])
    assert " passed" in run_tests(Path("my_ml_backend"))


@pytest.mark.slow
def test_a_script_becomes_the_model_and_passes_too() -> None:
    Path("cats.py").write_text(SCRIPT, encoding="utf-8")
    assert main(["create", "cat_backend", "--script", "cats.py"]) == 0
    files = made("cat_backend")
    assert set(files) == FILES
    assert files["model.py"] == SCRIPT
    assert "init_app(model_class=Cats)" in files["_wsgi.py"]
    assert " passed" in run_tests(Path("cat_backend"))


@pytest.mark.parametrize(
    ("script", "model_class"), [("cats.py", "Cats"), ("cats.py:Cats", "Cats"), ("cats.py:Helper", "Helper")]
)
def test_the_class_of_a_script(script: str, model_class: str) -> None:
    Path("cats.py").write_text(SCRIPT, encoding="utf-8")
    assert main(["create", "new", "--script", script]) == 0
    assert f"from model import {model_class}\n" in made("new")["_wsgi.py"]


@pytest.mark.parametrize(
    ("script", "content", "message"),
    [
        ("none.py", "", "none.py can't be read"),
        ("script.py", "class (", "script.py can't be read"),
        ("script.py", "", "has no class derived from LabelStudioMLBase; name the one to use as script.py:Class"),
        ("script.py", "class Model(Other): pass", "has no class derived from LabelStudioMLBase"),
        ("script.py:Cats", "class Dogs: pass", "has no class Cats; it has ['Dogs']"),
        (
            "script.py",
            "class A(LabelStudioMLBase): pass\nclass B(LabelStudioMLBase): pass",
            "has several classes derived from LabelStudioMLBase: ['A', 'B']",
        ),
    ],
    ids=["no file", "no Python", "no class", "no model", "another class", "two models"],
)
def test_a_script_that_will_not_do(script: str, content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("script.py").write_text(content, encoding="utf-8")
    assert main(["create", "new", "--script", script]) == 2
    assert message in capsys.readouterr().err
    assert not Path("new").exists()


def test_nothing_is_written_over_without_force(capsys: pytest.CaptureFixture[str]) -> None:
    main(["create", "new"])
    Path("new/model.py").write_text("# mine\n", encoding="utf-8")
    Path("new/weights.pt").write_text("mine", encoding="utf-8")
    assert main(["create", "new"]) == 2
    assert "new exists already" in capsys.readouterr().err
    assert Path("new/model.py").read_text(encoding="utf-8") == "# mine\n"
    assert main(["create", "new", "--force"]) == 0
    assert "NewModel" in Path("new/model.py").read_text(encoding="utf-8")
    assert Path("new/weights.pt").read_text(encoding="utf-8") == "mine"


def test_where_a_project_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    assert main(["create", "empty"]) == 0
    assert main(["create", "deep/below"]) == 0
    assert main(["create", "new", "--root-dir", "elsewhere"]) == 0
    assert set(made("empty")) == set(made("deep/below")) == set(made("elsewhere/new")) == FILES
    assert main(["create", "file"]) == 2
    assert "file is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, r"label-studio-ml>=2\.\d+\.\d+,<3"),
        ({"url": "file:///home/me/sdk", "dir_info": {"editable": True}}, r"label-studio-ml>=2\.\d+\.\d+,<3"),
        (
            {
                "url": "https://example.com/yolo.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc123", "requested_revision": "main"},
                "subdirectory": "sdk",
            },
            r"label-studio-ml @ git\+https://example\.com/yolo\.git@abc123#subdirectory=sdk",
        ),
        (
            {"url": "https://example.com/label_studio_ml-2.0.0-py3-none-any.whl", "archive_info": {}},
            r"label-studio-ml @ https://example\.com/label_studio_ml-2\.0\.0-py3-none-any\.whl",
        ),
    ],
    ids=["an index", "a directory", "a repository", "an archive"],
)
def test_the_requirement_names_where_this_package_came_from(
    origin: dict[str, Any] | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return json.dumps(origin) if origin else None

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    assert re.fullmatch(expected, sdk_requirement())
    main(["create", "new"])
    source = (origin or {"url": server._UNKNOWN_SOURCE})["url"]
    assert source in made("new")["README.md"]


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_start_serves_a_project() -> None:
    main(["create", "new"])
    port = a_free_port()
    command = [sys.executable, "-m", "label_studio_ml.server", "start", "new", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--basic-auth-user", "u", "--basic-auth-pass", "p"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "Running on" in line:
                    break
            assert get(f"http://127.0.0.1:{port}/health") == (200, '{"model_class":"NewModel","status":"UP"}\n')
            assert get(f"http://127.0.0.1:{port}/versions")[0] == 401
        finally:
            process.terminate()


def test_start_needs_a_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "nowhere"]) == 2
    assert "has no _wsgi.py; make a project with: label-studio-ml create nowhere" in capsys.readouterr().err


def test_start_says_what_is_wrong_with_the_settings() -> None:
    main(["create", "new"])
    command = [sys.executable, "-m", "label_studio_ml.server", "start", "new", "--basic-auth-user", "u"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "BASIC_AUTH_USER is set but BASIC_AUTH_PASS is not" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["destroy"], ["create"], ["start", "x", "--port", "many"]], ids=str)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: label-studio-ml" in capsys.readouterr().err


def test_the_console_script_is_installed() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="label-studio-ml")
    assert script.load() is main
