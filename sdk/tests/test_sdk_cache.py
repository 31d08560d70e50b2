"""The cache: across threads and processes, and on a disk that fails."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from label_studio_ml import sqlite_cache
from label_studio_ml.cache import Cache, create_cache, default_directory, shared_cache
from label_studio_ml.sqlite_cache import SQLiteCache


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], stdout=subprocess.PIPE, text=True
    )


def output(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return text


@pytest.fixture(params=["sqlite", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return create_cache(request.param, tmp_path)


@pytest.mark.parametrize("value", ["", "text", "多言語 ü", "a\x00b", "x" * 100_000], ids=len)
def test_values_come_back_as_they_were(cache: Cache, value: str) -> None:
    assert cache.get("4", "key") is None
    assert not cache.has("4", "key")
    cache.set("4", "key", value)
    assert cache.get("4", "key") == value
    assert cache.has("4", "key")
    cache.set("4", "key", value + "!")
    assert cache.get("4", "key") == value + "!"


def test_projects_and_keys_are_kept_apart(cache: Cache) -> None:
    entries = [("4.1795333388", "a"), ("4.1795333389", "a"), ("4", "a"), ("", "a"), ("4", "b"), ("4.1795333388", "A")]
    for number, (project, key) in enumerate(entries):
        cache.set(project, key, str(number))
    assert [cache.get(*entry) for entry in entries] == ["0", "1", "2", "3", "4", "5"]
    assert sorted(set(cache.by_project("a").values())) == ["0", "1", "2", "3"]
    assert sorted(set(cache.by_project("none").values())) == []


def test_values_that_belong_together_are_never_seen_in_part(cache: Cache) -> None:
    pairs = [{"hostname": f"http://{number}", "access_token": str(number)} for number in range(2)]
    cache.set_all("4", pairs[0])
    assert cache.get_all("4", "access_token", "none", "hostname") == ("0", None, "http://0")

    def write(number: int) -> None:
        for _ in range(200):
            cache.set_all("4", pairs[number])

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, number) for number in range(2)]
        while not all(writer.done() for writer in writing):
            hostname, token = cache.get_all("4", "hostname", "access_token")
            assert hostname == f"http://{token}"
        for writer in writing:
            writer.result()


def test_projects_without_end_are_not_kept_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_cache, "MAX_PROJECTS", 5)
    clock = iter(range(1000))
    monkeypatch.setattr("label_studio_ml.sqlite_cache.time.time", lambda: 700.0 * next(clock))
    cache = SQLiteCache(tmp_path / "cache.db")
    for number in range(20):
        cache.set("mine", "label_config", "<View/>")
        cache.set_all(f"theirs-{number}", {"label_config": "<View/>", "hostname": "http://evil"})
    assert cache.get("mine", "label_config") == "<View/>"
    left = [number for number in range(20) if cache.has(f"theirs-{number}", "hostname")]
    assert left == [16, 17, 18, 19]
    others = SQLiteCache(tmp_path / "cache.db")
    assert [number for number in range(20) if others.has(f"theirs-{number}", "label_config")] == left
    cache.close()
    others.close()


@pytest.mark.parametrize("broken", [False, True])
def test_values_without_end_are_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(sqlite_cache, "MAX_IN_MEMORY", 1000)
    if broken:
        (tmp_path / "in the way").write_text("")
    cache = SQLiteCache(tmp_path / ("in the way/cache.db" if broken else "cache.db"))
    for number in range(50):
        cache.set(f"{number}", "label_config", "x" * 100)
    assert sum(map(len, cache._known.values())) == 1000
    assert cache.get("49", "label_config") == "x" * 100
    assert (cache.get("0", "label_config") is None) == broken
    cache.close()


def test_the_file_is_made_on_first_use_for_its_owner_alone(tmp_path: Path) -> None:
    cache = create_cache("sqlite", tmp_path / "not" / "yet")
    assert not (tmp_path / "not").exists()
    cache.set("4", "access_token", "secret")
    files = list((tmp_path / "not" / "yet").iterdir())
    assert tmp_path / "not" / "yet" / "cache.db" in files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_an_earlier_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "cache.db").touch(mode=0o644)
    create_cache("sqlite", tmp_path).set("4", "access_token", "secret")
    assert (tmp_path / "cache.db").stat().st_mode & 0o777 == 0o600


def test_directories_are_for_their_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_cache(path=tmp_path / "new" / "deep").set("1", "key", "value")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "new", tmp_path / "new" / "deep")] == [0o700] * 2


def test_a_restart_remembers(tmp_path: Path) -> None:
    first = SQLiteCache(tmp_path / "cache.db")
    first.set("4", "key", "value")
    first.close()
    assert SQLiteCache(tmp_path / "cache.db").get("4", "key") == "value"
    assert first.get("4", "key") == "value"


def test_threads_share_a_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = create_cache("sqlite", tmp_path)
    together = threading.Barrier(8)

    def work(thread: int) -> list[str | None]:
        together.wait()
        read = []
        for number in range(40):
            cache.set(f"{thread}", f"{number}", f"{thread}-{number}")
            cache.set("all", "last", f"{thread}")
            read.append(cache.get(f"{thread}", f"{number}"))
        return read

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    assert results == [[f"{thread}-{number}" for number in range(40)] for thread in range(8)]
    assert not caplog.records


def test_processes_share_a_file(tmp_path: Path) -> None:
    script = """
        import logging, sys
        from label_studio_ml.cache import create_cache
        logging.raiseExceptions = True
        cache = create_cache("sqlite", sys.argv[1])
        for number in range(50):
            cache.set(sys.argv[2], str(number), f"{sys.argv[2]}-{number}")
        print(len(cache._unsaved))
    """
    processes = [run(script, str(tmp_path), str(number)) for number in range(4)]
    assert [output(process).strip() for process in processes] == ["0"] * 4
    cache = create_cache("sqlite", tmp_path)
    for process in range(4):
        assert [cache.get(str(process), str(n)) for n in range(50)] == [f"{process}-{n}" for n in range(50)]


def test_a_new_file_may_be_opened_by_all_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin = threading.Barrier(6)

    def opened(number: int) -> None:
        cache = create_cache("sqlite", tmp_path / f"{number // begin.parties}")
        begin.wait()
        cache.set("1", "key", "value")

    with ThreadPoolExecutor(begin.parties) as pool:
        list(pool.map(opened, range(40 * begin.parties)))
    assert not caplog.records


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_cache_survives_a_fork(tmp_path: Path) -> None:
    # The lock is held by the parent at the moment of the fork, as another thread's request would hold it.
    script = """
        import os, sys
        from label_studio_ml.cache import create_cache
        cache = create_cache("sqlite", sys.argv[1])
        cache.set("4", "parent", "before")
        connection = cache._connection
        with cache._lock:
            child = os.fork()
        if not child:
            assert cache._connection is None
            assert cache.get("4", "parent") == "before"
            cache.set("4", "child", "hello")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache._connection is connection
        print(cache.get("4", "child"))
    """
    assert output(run(script, str(tmp_path))).strip() == "hello"


def a_directory_that_is_a_file(directory: Path) -> Path:
    directory.touch()
    return directory


def a_directory_where_nothing_can_be_made(directory: Path) -> Path:
    return Path("/proc/label-studio-ml") if Path("/proc").is_dir() else Path("/dev/null/label-studio-ml")


def a_file_that_is_a_directory(directory: Path) -> Path:
    (directory / "cache.db").mkdir(parents=True)
    return directory


def a_file_that_is_no_database(directory: Path) -> Path:
    directory.mkdir()
    (directory / "cache.db").write_bytes(b"This is a text. " * 1000)
    return directory


def a_database_with_another_table(directory: Path) -> Path:
    directory.mkdir()
    connection = sqlite3.connect(directory / "cache.db")
    connection.execute("CREATE TABLE entry (something TEXT)")
    connection.close()
    return directory


def a_damaged_database(directory: Path) -> Path:
    cache = SQLiteCache(directory / "cache.db")
    for number in range(500):
        cache.set("4", f"{number}", "x" * 100)
    cache.close()
    content = bytearray((directory / "cache.db").read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    (directory / "cache.db").write_bytes(content)
    return directory


@pytest.mark.parametrize(
    "broken",
    [
        a_directory_that_is_a_file,
        a_directory_where_nothing_can_be_made,
        a_file_that_is_a_directory,
        a_file_that_is_no_database,
        a_database_with_another_table,
        a_damaged_database,
    ],
)
def test_a_failing_disk_costs_the_cache_alone(
    broken: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = create_cache("sqlite", broken(tmp_path / "directory"))
    assert cache.get("4", "key") is None
    assert sorted(set(cache.by_project("key").values())) == []
    cache.set("4", "key", "value")
    cache.set("4", "key", "new value")
    assert cache.get("4", "key") == "new value"
    assert cache.has("4", "key")
    assert sorted(set(cache.by_project("key").values())) == ["new value"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cache.db" in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="this system has no users to change to")
def test_a_read_only_directory_costs_the_cache_alone() -> None:
    # Root may write everywhere, so the process becomes nobody.
    script = """
        import logging, os, sys
        from label_studio_ml.cache import create_cache
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s")
        if os.geteuid() == 0:
            os.setuid(65534)
        cache = create_cache("sqlite", sys.argv[1])
        cache.set("4", "key", "value")
        print(cache.get("4", "key"))
    """
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        assert output(run(script, directory)).split() == ["WARNING", "value"]
        assert list(Path(directory).iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit on the size of files")
def test_a_full_disk_costs_the_cache_alone(tmp_path: Path) -> None:
    # A limit on the size of files makes every write beyond it fail, as a full disk does.
    script = """
        import logging, resource, sys
        from label_studio_ml.cache import create_cache
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s")
        cache = create_cache("sqlite", sys.argv[1])
        cache.set("4", "first", "small")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for number in range(20):
            cache.set("4", str(number), "x" * 50_000)
        print(len(cache._unsaved) > 0, cache.get("4", "first"))
        print(all(cache.get("4", str(number)) == "x" * 50_000 for number in range(20)))
    """
    assert output(run(script, str(tmp_path))).split() == ["WARNING", "True", "small", "True"]
    # What was written before is not lost.
    assert create_cache("sqlite", tmp_path).get("4", "first") == "small"


def test_a_file_that_comes_back_is_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("WARNING")
    directory = tmp_path / "directory"
    directory.touch()
    cache = SQLiteCache(directory / "cache.db")
    cache.set("4", "key", "in memory")
    directory.unlink()
    cache.set("4", "other", "still in memory, for the disk is not tried every time")
    assert not directory.exists()
    monkeypatch.setattr(sqlite_cache, "_RETRY_SECONDS", 0)
    cache.set("4", "other", "on disk")
    assert SQLiteCache(directory / "cache.db").get("4", "other") == "on disk"
    assert cache.get("4", "key") == "in memory"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_values_set_while_the_disk_failed_reach_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, others = SQLiteCache(tmp_path / "cache.db"), SQLiteCache(tmp_path / "cache.db")
    for key in ("a", "b", "c"):
        cache.set("4", key, "before")
    cache.close()
    with a_failing_disk(tmp_path):
        cache.set_all("4", {"a": "while it failed", "b": "while it failed"})
        assert cache.get_all("4", "a", "b", "c") == ("while it failed", "while it failed", "before")
    others.set("4", "a", "after that")
    monkeypatch.setattr(sqlite_cache, "_RETRY_SECONDS", 0)
    # The newer value counts, whoever has it.
    assert cache.get_all("4", "a", "b", "c") == ("after that", "while it failed", "before")
    assert sorted(set(cache.by_project("a").values())) == ["after that"]
    cache.set("4", "c", "new")
    assert others.get_all("4", "a", "b", "c") == ("after that", "while it failed", "new")
    others.set("4", "b", "newer still")
    assert cache.get("4", "b") == "newer still"


def test_a_read_only_process_follows_the_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, others = SQLiteCache(tmp_path / "cache.db"), SQLiteCache(tmp_path / "cache.db")
    others.set("4", "key", "before")
    with a_failing_disk(tmp_path):
        cache.set("4", "key", "while it failed")
    monkeypatch.setattr(sqlite_cache, "_RETRY_SECONDS", 0)
    others.set("4", "key", "after that")
    assert cache.get("4", "key") == "after that"
    others.set("4", "key", "newer still")
    assert cache.get("4", "key") == "newer still"


@contextmanager
def a_failing_disk(directory: Path) -> Iterator[None]:
    """Nothing can be opened in the directory."""
    aside = directory.with_name("aside")
    directory.rename(aside)
    directory.touch()
    yield
    directory.unlink()
    aside.rename(directory)


def test_a_file_of_release_0_1_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    connection = sqlite3.connect(tmp_path / "cache.db")
    connection.execute(
        "CREATE TABLE entry (project TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (project, key))"
        " WITHOUT ROWID"
    )
    connection.execute("INSERT INTO entry VALUES ('4', 'key', 'kept')")
    connection.commit()
    connection.close()
    cache = SQLiteCache(tmp_path / "cache.db")
    assert cache.get("4", "key") == "kept"
    cache.set("4", "key", "new")
    assert SQLiteCache(tmp_path / "cache.db").get("4", "key") == "new"
    assert not caplog.records


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MODEL_DIR": "/data/models"}, "/data/models"),
        ({"MODEL_DIR": "~/models", "HOME": "/home/someone"}, "/home/someone/models"),
        ({"MODEL_DIR": "", "HOME": "/home/someone"}, "/home/someone/.cache/label-studio-ml"),
        ({"MODEL_DIR": "", "HOME": "/home/someone", "XDG_CACHE_HOME": "/tmp/c"}, "/tmp/c/label-studio-ml"),
    ],
)
def test_default_directory(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert default_directory() == Path(expected)


def test_without_a_home_the_cache_is_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("MODEL_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    cache = shared_cache()
    cache.set("4", "key", "value")
    assert shared_cache().get("4", "key") == "value"
    assert "MODEL_DIR" in caplog.text


def test_a_directory_has_one_cache_in_a_process(tmp_path: Path) -> None:
    assert shared_cache(tmp_path) is shared_cache(str(tmp_path))
    assert shared_cache(tmp_path) is not shared_cache(tmp_path / "other")


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'redis'.*'sqlite'"):
        create_cache("redis")
