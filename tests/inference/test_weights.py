import hashlib
from pathlib import Path

import pytest

from yolo_backend.errors import WeightsError
from yolo_backend.inference import WeightsStore
from yolo_backend.settings import BUNDLED_MODELS, Settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "team").mkdir(parents=True)
    (tmp_path / "root" / "mine.pt").write_bytes(b"mine")
    (tmp_path / "root" / "team" / "ours.pt").write_bytes(b"ours")
    (tmp_path / "outside.pt").write_bytes(b"outside")
    (tmp_path / "root" / "link.pt").symlink_to(tmp_path / "outside.pt")
    (tmp_path / "root" / "inner-link.pt").symlink_to("mine.pt")
    (tmp_path / "root" / "directory.pt").mkdir()
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> WeightsStore:
    return WeightsStore(Settings(model_root=root))


@pytest.mark.parametrize(
    ("name", "content"),
    [("mine.pt", b"mine"), ("team/ours.pt", b"ours"), ("inner-link.pt", b"mine"), ("./mine.pt", b"mine")],
)
def test_weights_are_found_by_name(store: WeightsStore, name: str, content: bytes) -> None:
    assert store.get(name).read_bytes() == content
    assert store.digest(name) == hashlib.sha256(content).hexdigest()


def test_bundled_weights_are_found_when_the_root_is_elsewhere(store: WeightsStore) -> None:
    assert store.get("demo-detect.pt") == BUNDLED_MODELS / "demo-detect.pt"


def test_own_weights_come_before_bundled_ones(store: WeightsStore, root: Path) -> None:
    (root / "demo-detect.pt").write_bytes(b"own")
    assert store.get("demo-detect.pt") == root / "demo-detect.pt"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "/etc/passwd.pt",
        "../outside.pt",
        "team/../../outside.pt",
        "http://example.com/evil.pt",
        "file:///outside.pt",
        "C:\\weights.pt",
        "C:weights.pt",
        "..\\outside.pt",
        "mine.pt\0",
        "mine.yaml",
        "mine",
    ],
)
def test_a_name_that_is_no_file_under_the_root_is_refused(store: WeightsStore, name: str) -> None:
    with pytest.raises(WeightsError, match=r"model_path=.* is not"):
        store.get(name)
    assert store.digest(name) == "missing"


def test_a_link_out_of_the_root_is_refused(store: WeightsStore) -> None:
    with pytest.raises(WeightsError, match="lead out of"):
        store.get("link.pt")


def test_a_name_that_cannot_be_looked_up_is_refused(store: WeightsStore, root: Path) -> None:
    (root / "loop.pt").symlink_to("loop.pt")
    for name in ("a" * 300 + ".pt", "a/" * 2500 + "x.pt", "loop.pt"):
        assert store.digest(name) == "missing"
        with pytest.raises(WeightsError):
            store.get(name)


@pytest.mark.parametrize("name", ["not-there.pt", "directory.pt", "team/nothing.pt"])
def test_missing_weights_are_an_error_that_lists_what_is_there(store: WeightsStore, name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        store.get(name)
    assert repr(name) in str(caught.value)
    for there in ("mine.pt", "team/ours.pt", "demo-detect.pt"):
        assert there in str(caught.value)


def test_a_near_name_is_suggested_as_it_is_spelled(store: WeightsStore, root: Path) -> None:
    (root / "Codes-v2.pt").write_bytes(b"codes")
    with pytest.raises(WeightsError, match=r"Did you mean Codes-v2\.pt\?"):
        store.get("codes-v3.pt")


def test_a_changed_file_has_another_digest(store: WeightsStore, root: Path) -> None:
    before = store.digest("mine.pt")
    (root / "mine.pt").write_bytes(b"changed")
    assert store.digest("mine.pt") == hashlib.sha256(b"changed").hexdigest() != before


def test_an_official_name_that_cannot_be_fetched_is_an_error_and_not_asked_for_again_at_once(
    store: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that isn't there: no network, whatever machine this runs on.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(WeightsError, match=r"'yolo26n.pt' could not be fetched .*demo-detect.pt"):
        store.get("yolo26n.pt")
    monkeypatch.setattr("yolo_backend.inference.weights.fetch_official", None)
    with pytest.raises(WeightsError, match="could not be fetched"):
        store.get("yolo26n.pt")


def test_weights_that_are_fetched_are_there_whole_or_not_at_all(
    store: WeightsStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True, False]

    def fetch(name: str, directory: Path) -> Path:
        path = directory / name
        path.write_bytes(b"the first half")
        assert store.find("yolo26n.pt") is None
        assert "yolo26n.pt" not in " ".join(store.available())
        if broken.pop(0):
            raise ConnectionError("cut off")
        path.write_bytes(b"the first half and the second")
        return path

    before = sorted(root.iterdir())
    monkeypatch.setattr("yolo_backend.inference.weights.fetch_official", fetch)
    monkeypatch.setattr("yolo_backend.inference.weights.RETRY_SECONDS", 0)
    with pytest.raises(WeightsError, match="cut off"):
        store.get("yolo26n.pt")
    assert sorted(root.iterdir()) == before
    assert store.get("yolo26n.pt").read_bytes() == b"the first half and the second"
    assert sorted(root.iterdir()) == sorted([*before, root / "yolo26n.pt"])
