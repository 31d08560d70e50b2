"""Attacks by paths: no file is read but those under the document root, and none is written but under MODEL_DIR."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.support.clips import write_clip
from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.media.sources import locate
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import PROJECT_DIR, Settings

SECRET = b"root:x:0:0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root with ways out of it, beside a secret."""
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "secret").write_bytes(SECRET)
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "deep" / "far").symlink_to("../up/secret")
    (root / "loop").symlink_to("loop")
    (root / "proc").symlink_to("/proc/self")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "../root-beside/secret",
        "deep/../../secret",
        "./../secret",
        "/{root}/../secret",
        "{root}/secret",
        "/etc/passwd",
        "//etc/passwd",
        "..%2fsecret",
        "%2e%2e/secret",
        "%252e%252e%252fsecret",
        "..%00/secret",
        "..\\secret",
        "..%5csecret",
        "....//secret",
        "..;/secret",
        "~/secret",
        "link",
        "up/secret",
        "deep/far",
        "loop",
        "proc/environ",
        "proc/cwd/pyproject.toml",
        "pipe",
        "deep",
        "",
        ".",
        "x&d=../secret",
        "deep/" * 900 + "x",
        "\ud800",
    ],
)
@pytest.mark.parametrize("address", ["/data/local-files/?d={}", "http://127.0.0.1:1/data/local-files/?d={}"])
def test_no_file_outside_the_document_root_is_read(root: Path, path: str, address: str) -> None:
    settings = Settings(
        local_files_document_root=root, label_studio_url="http://127.0.0.1:1", media_hosts="none", connect_timeout=0.2
    )
    loader, label_studio = MediaLoader(settings), LabelStudio(url=None)
    if address.startswith("http"):
        label_studio = LabelStudio.from_settings(settings)
    value = address.format(path.format(root=root))
    with pytest.raises(MediaError):
        loader.fetch(value, task_id=1, label_studio=label_studio)
    with pytest.raises(MediaError), loader.local_file(value, task_id=1, label_studio=label_studio):
        pass


@pytest.mark.parametrize(
    "value",
    [
        "{root}/secret",
        "/etc/passwd",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "file:/etc/passwd",
        "FILE:///etc/passwd",
        "../../etc/passwd",
        "secret",
        "~/.ssh/id_rsa",
        "C:\\Windows\\win.ini",
        "\\\\host\\share\\x.jpg",
        "/dev/zero",
        "/proc/self/environ",
        "concat:/etc/passwd|/etc/hosts",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "fd:0",
        "|cat /etc/passwd",
        "glob:/etc/*",
    ],
)
def test_no_path_of_this_machine_is_read(root: Path, value: str) -> None:
    settings = Settings(local_files_document_root=root)
    loader, nowhere = MediaLoader(settings), LabelStudio(url=None)
    with pytest.raises(MediaError):
        loader.fetch(value.format(root=root.parent), task_id=1, label_studio=nowhere)
    with pytest.raises(MediaError), loader.local_file(value.format(root=root.parent), task_id=1, label_studio=nowhere):
        pass


@pytest.mark.parametrize("name", ["picture.png", "clip.mp4"])
@pytest.mark.parametrize("exchanged", ["a", "a/b", "a/b/{name}"])
def test_what_is_exchanged_for_a_link_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, exchanged: str
) -> None:
    """At the worst moment: the path was followed, and nothing is open yet."""
    for place, colour in {"root/a/b": 0, "outside/a/b": 255}.items():
        (tmp_path / place).mkdir(parents=True)
        picture = np.full((32, 32, 3), colour, np.uint8)
        write_clip(tmp_path / place / "clip.mp4", [0, 0.1], [picture] * 2, size=(32, 32))
        Image.fromarray(picture).save(tmp_path / place / "picture.png")
    path = exchanged.format(name=name)

    def locate_and_exchange(*args: Any, **options: Any) -> Any:
        found = locate(*args, **options)
        (tmp_path / "root" / path).rename(tmp_path / "aside")
        (tmp_path / "root" / path).symlink_to(tmp_path / "outside" / path)
        return found

    monkeypatch.setattr("yolo_backend.media.loader.locate", locate_and_exchange)
    loader, nowhere = MediaLoader(Settings(local_files_document_root=tmp_path / "root")), LabelStudio(url=None)
    address = f"/data/local-files/?d=a/b/{name}"
    expected = "(not a directory|too many levels of symbolic links)"
    if name == "picture.png":
        with pytest.raises(MediaError, match=expected):
            loader.fetch(address, task_id=1, label_studio=nowhere)
    else:
        with pytest.raises(MediaError, match=expected), loader.local_file(address, task_id=1, label_studio=nowhere):
            pass


def test_a_file_is_read_all_the_same(root: Path) -> None:
    (root / "deep" / "x").write_bytes(b"x")
    settings = Settings(local_files_document_root=root)
    for path in ("deep/x", "/deep/x", quote("deep/x", safe=""), "deep/./x"):
        address = f"/data/local-files/?d={path}"
        assert MediaLoader(settings).fetch(address, task_id=1, label_studio=LabelStudio(url=None)).data == b"x"


@pytest.mark.parametrize(
    "number", ["../../../escaped", "/escaped", "a/../../escaped", "x\0y", "x" * 5000, {"a": ".."}, None]
)
def test_nothing_is_written_outside_of_the_data_directory(tmp_path: Path, number: Any) -> None:
    """A task's id is part of the name of a debug picture."""
    images = PROJECT_DIR / "examples" / "images"
    settings = Settings(model_dir=tmp_path / "data", local_files_document_root=images, debug_plot=True)
    engine = Engine(settings)
    label = '<Label value="qr_code"/>'
    tag = f'<RectangleLabels name="c" toName="i" model_path="demo-detect.pt">{label}</RectangleLabels>'
    plan = engine.plan(f'<View><Image name="i" value="$i"/>{tag}</View>')
    task = {"id": number, "data": {"i": "/data/local-files/?d=photo-02.jpg"}}
    (prediction,) = engine.predict(plan, [task], LabelStudio(url=None))
    assert prediction is not None
    assert [path for path in tmp_path.iterdir() if path.name != "data"] == []
    assert all(path.is_relative_to(tmp_path / "data" / "debug") for path in (tmp_path / "data").rglob("*.jpg"))
