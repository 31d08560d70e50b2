"""docs/architecture.md is true of the tree; ``PYTHONPATH=. python tests/test_architecture.py`` writes its tables anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "yolo_backend"
PAGE = ROOT / "docs" / "architecture.md"
TOP_LEVEL = ("model.py", "_wsgi.py", "gunicorn.conf.py")
_TABLES = re.compile(r"(<!-- modules -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def layers() -> list[str]:
    """The rooms from the top down, as import-linter holds them; without a TOML reader, which Python 3.10 doesn't have."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^layers = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"(\w+)"', listed)


def modules(room: Path) -> list[Path]:
    """The modules of a room and of the rooms inside it, in the order of a directory listing."""
    return sorted((path for path in room.rglob("*.py") if path.name != "__init__.py"), key=lambda path: path.as_posix())


def purpose(module: Path) -> str:
    """The first paragraph of a module's docstring, as Markdown on one line."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert docstring, f"{module} doesn't say what it is for"
    return " ".join(docstring.split("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")


def table(paths: list[Path], base: Path) -> Iterator[str]:
    yield from ("| module | what it is |", "| --- | --- |")
    for path in paths:
        yield f"| [{path.relative_to(base).as_posix()}](../{path.relative_to(ROOT).as_posix()}) | {purpose(path)} |"
    yield ""


def tables() -> str:
    """The list of all modules, room by room from the top down."""
    lines = ["### The top level", "", *table([ROOT / name for name in TOP_LEVEL], ROOT)]
    single = [PACKAGE / "__main__.py"]
    for name in layers():
        if (PACKAGE / f"{name}.py").is_file():
            single.append(PACKAGE / f"{name}.py")
            continue
        room = PACKAGE / name
        lines += [f"### {name}", "", purpose(room / "__init__.py"), "", *table(modules(room), room)]
    lines += ["### Modules without a room", "", *table(single, PACKAGE)]
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with its tables as they should be."""
    return _TABLES.sub(lambda match: f"{match[1]}\n{tables()}\n{match[3]}", page)


@pytest.fixture
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    """Which room imports from which."""
    graph = grimp.build_graph("yolo_backend", cache_dir=None)
    found = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            rooms = [name.split(".")[1] for name in (module, imported) if "." in name]
            if len(rooms) == 2 and rooms[0] != rooms[1]:
                found.add((rooms[0], rooms[1]))
    return found


def picture(page: str) -> str:
    (drawn,) = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    return drawn


def test_tables_are_those_of_the_tree(page: str) -> None:
    assert page == written(page), "run: make docs"


def test_every_module_is_listed_once(page: str) -> None:
    listed = re.findall(r"\]\(\.\./(yolo_backend/[^)]+)\)", page)
    there = [path.relative_to(ROOT).as_posix() for path in modules(PACKAGE)]
    assert sorted(listed) == there


def test_paths_that_are_named_exist(page: str) -> None:
    text = _TABLES.sub("", page)
    named = {
        name for name in re.findall(r"`([\w.-][\w./-]*)`", text) if re.search(r"/|\.(py|md|toml|xml|yml|json)$", name)
    }
    assert {"pipeline/engine.py", "model.py", "controls/"} <= named
    gone = [name for name in named if not ((ROOT / name).exists() or (PACKAGE / name).exists())]
    assert not gone, "docs/architecture.md names them: say where these things are now"


def test_picture_has_every_room_in_its_layer(page: str) -> None:
    drawn = re.findall(r"^ +(\w+)\[", picture(page), re.MULTILINE)
    assert [name for name in drawn if name in layers()] == layers()


def test_arrows_of_the_picture_are_imports(page: str, imports: set[tuple[str, str]]) -> None:
    arrows = {
        (start, end)
        for start, ends in re.findall(r"^ +(\w+) -->(?:\|[^|]*\|)? ([\w &]+)$", picture(page), re.MULTILINE)
        for end in ends.split(" & ")
        if {start, end} <= set(layers())
    }
    assert len(arrows) >= 10
    assert not arrows - imports


def test_no_room_is_missing_from_the_layers() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    single = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert rooms | single == set(layers())


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
