"""What a value names, and what is never opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media.sources import Inline, OnDisk, Remote, locate

HERE = LabelStudio(url="http://ls/sub")
NOWHERE = LabelStudio(url=None)


def find(value: object, *, server: LabelStudio = HERE, root: Path | None = None, task_id: object = 3) -> Any:
    return locate(value, task_id=task_id, label_studio=server, document_root=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root with files, links and a neighbour that must stay closed."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    for path in (root / "a" / "x 猫.jpg", root / "top.jpg", tmp_path / "secret.jpg", tmp_path / "root-2.jpg"):
        path.write_bytes(b"x")
    (root / "inside").symlink_to(root / "a")
    (root / "outside").symlink_to(tmp_path)
    (root / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/data/upload/1/x.jpg", "http://ls/sub/data/upload/1/x.jpg"),
        ("/sub/data/upload/1/x.jpg", "http://ls/sub/data/upload/1/x.jpg"),
        ("/static/x.jpg?v=2", "http://ls/sub/static/x.jpg?v=2"),
        ("  /data/upload/1/x.jpg\r\n", "http://ls/sub/data/upload/1/x.jpg"),
        ("http://h/x.jpg", "http://h/x.jpg"),
        ("HTTPS://User:Pass@Host:8443/x y.jpg?q#f", "https://User:Pass@host:8443/x%20y.jpg?q#f"),
        ("s3://b/k.jpg", "http://ls/sub/tasks/3/resolve/?fileuri=czM6Ly9iL2suanBn"),
        ("GS://b/k.jpg", "http://ls/sub/tasks/3/resolve/?fileuri=R1M6Ly9iL2suanBn"),
        ("azure-blob://c/k", "http://ls/sub/tasks/3/resolve/?fileuri=YXp1cmUtYmxvYjovL2Mvaw%3D%3D"),
        ("/data/local-files/?d=a/x.jpg", "http://ls/sub/data/local-files/?d=a/x.jpg"),
    ],
)
def test_remote(value: str, url: str) -> None:
    source = find(value)
    assert isinstance(source, Remote)
    assert source.url == url


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("http://user:pass@h/x.jpg?sig=secret#secret", "http://h/x.jpg"),
        ("/data/upload/1/x.jpg?token=secret", "http://ls/sub/data/upload/1/x.jpg"),
        ("s3://bucket/k.jpg?sig=secret", "s3://bucket/k.jpg"),
        ("/data/local-files/?d=a/x.jpg&token=secret", "http://ls/sub/data/local-files/ (d=a/x.jpg)"),
        ("data:image/png;base64,secret", "data:image/png;base64,… (28 characters)"),
        ("data:" + "x" * 90 + ",secret", f"data:{'x' * 30}…{'x' * 29},… (102 characters)"),
    ],
)
def test_name_is_fit_to_print(value: str, name: str) -> None:
    source = find(value)
    assert source.name == name
    assert "secret" not in repr(source)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "holds nothing where"),
        (7, "the value 7"),
        (1.5, "the value 1.5"),
        (True, "the value True"),
        ([], "a list of 0"),
        (["/data/upload/1/x.jpg"], "a list of 1"),
        ({"url": "x"}, "a dict of 1"),
        ("", "empty"),
        (" \n", "empty"),
        ("x.jpg", "'x.jpg': neither an http"),
        ("images/x.jpg", "neither an http"),
        ("../x.jpg", "'../x.jpg': neither an http"),
        ("~/x.jpg", "neither an http"),
        ("//host/x.jpg", "neither an http"),
        ("C:\\x.jpg", "neither an http"),
        ("\\\\host\\x.jpg", "neither an http"),
        ("file:///etc/passwd", "file: addresses are never opened"),
        ("FILE:/etc/passwd", "file: addresses are never opened"),
        ("ftp://user:secret@h/x.jpg?secret", "'ftp://h/x.jpg': ftp: addresses"),
        ("user:secret@h/x.jpg", "'user:h/x.jpg': user: addresses"),
        ("javascript:alert(1)", "javascript: addresses"),
        ("blob:http://h/1", "blob: addresses"),
        ("redis://h/1", "redis: addresses"),
        ("localhost:8080/x.jpg", "localhost: addresses"),
        ("/data/upload/\0/x.jpg", "control characters"),
        ("http://h/\n/x.jpg", "control characters"),
        ("http://", "not an http"),
        ("http:x.jpg", "not an http"),
        ("http:///x.jpg", "not an http"),
        ("http://h:99999/x.jpg", "not an http"),
        ("http://h:port/secret", "not an http"),
        ("http://user:sec/ret@h/", "not an http"),
        ("http://[::1/x.jpg", "not an http"),
        ("http://evil\\@ls/x.jpg", "not an http"),
        ("http://*/x.jpg", "not an http"),
        ("s3://b/\ud800.jpg", "half a surrogate pair"),
        ("x" * 100_000, "…"),
    ],
)
def test_never_opened(value: object, expected: str, root: Path) -> None:
    with pytest.raises(MediaError) as raised:
        find(value, root=root)
    text = str(raised.value)
    assert expected in text
    assert "secret" not in text
    assert "sec/ret" not in text
    assert len(text) < 300


@pytest.mark.parametrize("value", ["/data/upload/1/x.jpg", "/data/local-files/?d=x.jpg", "s3://b/k.jpg"])
def test_path_without_a_server(value: str) -> None:
    with pytest.raises(MediaError, match="set LABEL_STUDIO_URL"):
        find(value, server=NOWHERE)


def test_cloud_storage_without_a_task() -> None:
    with pytest.raises(MediaError, match=r"s3://b/k\.jpg can only be opened for a task with an id"):
        find("s3://b/k.jpg?secret", task_id=None)


@pytest.mark.parametrize("server", [HERE, NOWHERE])
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/data/local-files/?d=top.jpg", "top.jpg"),
        ("/data/local-files?d=top.jpg", "top.jpg"),
        ("/sub/data/local-files/?d=top.jpg", "top.jpg"),
        ("/data/local-files/?d=/top.jpg", "top.jpg"),
        ("/data/local-files/?d=a/x 猫.jpg", "a/x 猫.jpg"),
        ("/data/local-files/?d=a%2Fx%20%E7%8C%AB.jpg", "a/x 猫.jpg"),
        ("/data/local-files/?d=a/x+猫.jpg", "a/x 猫.jpg"),
        ("/data/local-files/?d=inside/x 猫.jpg", "a/x 猫.jpg"),
        ("/data/local-files/?d=./a//x 猫.jpg", "a/x 猫.jpg"),
        ("/data/local-files/?x=1&d=outside.jpg&d=top.jpg", "top.jpg"),
    ],
)
def test_mounted_file(value: str, path: str, server: LabelStudio, root: Path) -> None:
    source = find(value, server=server, root=root)
    assert isinstance(source, OnDisk)
    assert source.root.joinpath(*source.parts) == root / path


def test_mounted_file_by_label_studios_own_address(root: Path) -> None:
    assert isinstance(find("http://ls/sub/data/local-files/?d=top.jpg", root=root), OnDisk)
    assert isinstance(find("http://elsewhere/data/local-files/?d=top.jpg", root=root), Remote)


@pytest.mark.parametrize(
    "d", ["gone.jpg", "", "a", "outside/secret.jpg", "outside.jpg", "circle", "pipe", "x" * 300, "top.jpg/x", "\ud800"]
)
def test_what_is_not_in_the_root_is_left_to_label_studio(d: str, root: Path) -> None:
    assert isinstance(find(f"/data/local-files/?d={d}", root=root), Remote)


def test_root_that_is_not_there(tmp_path: Path) -> None:
    assert isinstance(find("/data/local-files/?d=x.jpg", root=tmp_path / "gone"), Remote)


@pytest.mark.parametrize(
    "d",
    [
        "../secret.jpg",
        "a/../../secret.jpg",
        "%2e%2e/secret.jpg",
        "..%2Fsecret.jpg",
        "/../secret.jpg",
        "..\\x",
        "%00",
        "..",
    ],
)
def test_way_out_of_the_root(d: str, root: Path) -> None:
    with pytest.raises(MediaError, match="not a path under the document root"):
        find(f"/data/local-files/?d={d}", root=root)


def test_inline() -> None:
    source = find("DATA:,x")
    assert isinstance(source, Inline)
    assert source.uri == "DATA:,x"
