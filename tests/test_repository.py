"""What strangers meet first: workflows, forms, hooks and pages are valid, name what is there, and have no broken link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from yolo_backend import __version__

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models" / "README.md", ROOT / "sdk" / "README.md"])
FOLDERS = (".github", "benchmarks", "deploy", "docs", "examples", "models", "sdk", "tests", "yolo_backend")
TEXT = {"", ".json", ".md", ".py", ".tmpl", ".toml", ".txt", ".xml", ".yaml", ".yml"}
SCHEMAS = {
    "vendor.github-workflows": GITHUB.glob("workflows/*.yml"),
    "vendor.github-issue-config": GITHUB.glob("ISSUE_TEMPLATE/config.yml"),
    "vendor.github-issue-forms": (path for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.stem != "config"),
    "vendor.dependabot": GITHUB.glob("dependabot.yml"),
    "vendor.compose-spec": ROOT.glob("docker-compose*.yml"),
}


def read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def text_files() -> Iterator[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    yield from (path for path in [*ROOT.iterdir(), *found] if path.is_file() and path.suffix in TEXT)


def complaints(schema: str, *files: Path) -> str:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode else ""


@pytest.mark.parametrize(("schema", "files"), [pytest.param(*row, id=row[0]) for row in SCHEMAS.items()])
def test_files_follow_their_schema(schema: str, files: Iterator[Path]) -> None:
    paths = list(files)
    assert paths
    assert complaints(schema, *paths) == ""


def test_schemas_refuse_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(read(".github/workflows/ci.yml").replace("runs-on:", "runs_on:"), encoding="utf-8")
    assert "runs_on" in complaints("vendor.github-workflows", wrong)


def test_actions_are_github_s_own_and_named_by_their_commit() -> None:
    used = [line for path in GITHUB.glob("workflows/*.yml") for line in re.findall("uses: (.*)", read(path))]
    assert used
    assert not [line for line in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v[\d.]+", line)]


def test_workflows_do_what_a_person_does() -> None:
    jobs: dict[str, Any] = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    for name in ("check", "test", "e2e"):
        assert commands[name][-1].split()[:2] == ["make", name]
    supported = re.findall(r"\((3, \d+)\) <= sys.version_info\[:2\] <= \((3, \d+)\)", read("Makefile"))
    minors = [int(version.split(", ")[1]) for version in supported[0]]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(minors[0], minors[1] + 1)]


def test_bug_form_asks_for_what_explains_a_fault() -> None:
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/bug.yml"))
    required = {item["id"] for item in form["body"] if item.get("validations", {}).get("required")}
    assert {"config", "log", "doctor"} <= required


def test_hooks_are_valid_and_need_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")],
        env={**os.environ, "PRE_COMMIT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}


def test_make_targets_that_are_named_exist() -> None:
    # In code, in a workflow, or on a line of its own; "make" is an English word as well.
    command = re.compile(r"(?:`|run: |\$\()make (?:-s )?([a-z]\w*)|^make ([a-z]\w*)(?= *(?:#|$))", re.MULTILINE)
    targets = set(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.MULTILINE))
    named = {max(found) for path in [*PAGES, *GITHUB.rglob("*.*")] for found in command.findall(read(path))}
    assert {"check", "test", "serve", "e2e", "version"} <= named
    assert not named - targets


def test_index_lists_every_page_of_the_docs() -> None:
    listed = re.findall(r"^\| \[[^]]+\]\(([\w-]+\.md)\)", read("docs/README.md"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in ROOT.glob("docs/*.md") if path.name != "README.md")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_version_is_written_once() -> None:
    numbers = {
        path.relative_to(ROOT).as_posix(): found
        for path in text_files()
        if path.parts[len(ROOT.parts)] in ("deploy", "docs", "docker-compose.yml", "README.md")
        and (found := re.findall(r"(?:yolo-backend[: ]|newTag: )(\d[\w.]*)", read(path)))
    }
    # Kubernetes can't read it from elsewhere: raise it there with `__version__`.
    assert numbers == {"deploy/kubernetes/image/kustomization.yaml": [__version__]}


def test_change_log_begins_with_this_version() -> None:
    number, state = re.findall(r"^## (\S+) \((.+)\)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert number == re.sub(r"\.dev\d+$", "", __version__)
    assert state == "unreleased" if ".dev" in __version__ else re.fullmatch(r"\d{4}-\d\d-\d\d", state)


def test_files_are_as_editors_are_told_to_write_them() -> None:
    config = ConfigParser()
    config.read_string("[start]\n" + read(".editorconfig"))
    wrong = []
    for path in text_files():
        content = path.read_bytes()
        if path.suffix == "" and b"\0" in content:
            continue
        rules: dict[str, str] = {}
        for pattern in filter(partial(fnmatch, path.name), config.sections()):
            rules |= config[pattern]
        text = content.decode(rules["charset"])
        tabs = rules["indent_style"] == "tab"
        if (
            "\r" in text
            or (text and not text.endswith("\n"))
            or re.search(r"[ \t]$", text, re.MULTILINE)
            or (not tabs and re.search(r"^ *\t", text, re.MULTILINE))
        ):
            wrong.append(path.relative_to(ROOT).as_posix())
    assert not wrong
