"""Attacks by weights, and by the names of weights: nobody reads files or runs code through them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yolo_backend.errors import ConfigError, WeightsError
from yolo_backend.inference import WeightsStore
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.weights import sha256
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR, Settings, load_settings

DEMO = BUNDLED_MODELS / "demo-detect.pt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.pt").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.mark.parametrize(
    "name",
    [
        "../secret.pt",
        "..\\secret.pt",
        "x/../../secret.pt",
        "./.././secret.pt",
        "{outside}/secret.pt",
        "//{outside}/secret.pt",
        "~/secret.pt",
        "$HOME/secret.pt",
        "file://{outside}/secret.pt",
        "http://127.0.0.1/secret.pt",
        "https:/127.0.0.1/secret.pt",
        "ul://user/project/secret.pt",
        "gs://bucket/secret.pt",
        "C:\\secret.pt",
        "\\\\host\\share\\secret.pt",
        "secret.pt\0.pt",
        "%2e%2e/secret.pt",
        "..;/secret.pt",
        "/proc/self/environ",
        "/dev/zero.pt",
        "link.pt",
        "directory-link/secret.pt",
        "network_openvino_model",
    ],
)
def test_a_name_leads_to_no_file_outside_the_root(root: Path, name: str) -> None:
    outside = root.parent
    (root / "link.pt").symlink_to(outside / "secret.pt")
    (root / "directory-link").symlink_to(outside)
    network = root / "network_openvino_model"
    network.mkdir()
    (network / "model.xml").symlink_to(outside / "secret.pt")
    store = WeightsStore(Settings(model_root=root, allow_downloads=False))
    with pytest.raises(WeightsError):
        store.get(name.format(outside=outside))
    assert store.digest(name.format(outside=outside)) == "missing"


class Call:
    """Pickled, it is a call of a function when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def zip_file(content: object, path: Path) -> None:
    ultralytics()
    import torch

    torch.save(content, path)


def old_format(content: object, path: Path) -> None:
    ultralytics()
    import torch

    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def newest_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [zip_file, old_format, bare_pickle, newest_pickle])
@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda file: Call(os.system, f"touch {file}"), "posix.system"),
        (lambda file: Call(open, str(file), "w"), "open"),
        (lambda file: Call(eval, f"open({str(file)!r}, 'w')"), "eval"),
        (lambda file: Call(subprocess.Popen, ["touch", str(file)]), "Popen"),
    ],
    ids=["system", "open", "eval", "Popen"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_run_no_code(
    root: Path, write: Callable[[object, Path], None], call: Callable[[Path], Call], named: str
) -> None:
    file = root / "made-by-the-weights"
    write({"model": call(file)}, root / "evil.pt")
    with pytest.raises(WeightsError) as refused:
        load_backend(root / "evil.pt", "cpu", batch_size=1)
    assert not file.exists()
    assert "evil.pt' can't be loaded: they hold " in str(refused.value)
    if write is not newest_pickle:  # which PyTorch refuses as a whole
        assert named in str(refused.value)


def test_weights_that_would_have_the_library_install_something(root: Path) -> None:
    content = b"cno_such_package\nmodel\n)R."
    (root / "evil.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"they hold no_such_package\.model, which is no part of a model"):
        load_backend(root / "evil.pt", "cpu", batch_size=1)


def test_a_library_that_would_run_what_is_in_weights_is_not_used(tmp_path: Path) -> None:
    script = """
        import ultralytics  # before the service could tell it to load safely, as an old version that can't
        from yolo_backend.errors import WeightsError
        from yolo_backend.inference.library import ultralytics
        try:
            ultralytics()
        except WeightsError as error:
            print(error)
    """
    environment = {**os.environ, "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(tmp_path)}
    environment.pop("ULTRALYTICS_SAFE_LOAD", None)
    command = [sys.executable, "-c", textwrap.dedent(script)]
    said = subprocess.run(command, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, check=True).stdout
    assert "would run what is in weights: install the versions that requirements.txt asks for" in said


def test_only_listed_weights_are_loaded(root: Path) -> None:
    shutil.copy(DEMO, root / "mine.pt")
    (root / "other.pt").write_bytes(b"other")
    digest = sha256(DEMO)
    store = WeightsStore(Settings(model_root=root, model_sha256=f"{'0' * 64}, {digest.upper()}"))
    assert store.get("mine.pt") == root / "mine.pt"
    for name in ("other.pt", "demo-segment.pt"):
        with pytest.raises(
            WeightsError, match=f"{name}' are refused: MODEL_SHA256 doesn't list them \\({store.digest(name)}"
        ):
            store.get(name)
    (root / "mine.pt").write_bytes(DEMO.read_bytes() + b" ")
    with pytest.raises(WeightsError, match="MODEL_SHA256 doesn't list them"):
        store.get("mine.pt")


def test_an_engine_must_be_listed(root: Path) -> None:
    (root / "x.engine").write_bytes(b"engine")
    with pytest.raises(WeightsError, match="an engine holds code for the GPU, and MODEL_SHA256 doesn't list them"):
        WeightsStore(Settings(model_root=root)).get("x.engine")
    listed = Settings(model_root=root, model_sha256=sha256(root / "x.engine"))
    assert WeightsStore(listed).get("x.engine") == root / "x.engine"


def test_a_digest_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SHA256", f"{'a' * 64},sha256:12")
    with pytest.raises(ConfigError, match=r"MODEL_SHA256=.*'sha256:12' is no SHA-256 digest"):
        load_settings()


def test_official_names_are_not_fetched_unless_that_is_allowed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolo_backend.inference.weights.fetch_official", None)
    with pytest.raises(WeightsError, match=r"'yolo26n.pt' are not there, and ALLOW_DOWNLOADS is false"):
        WeightsStore(Settings(model_root=root, allow_downloads=False)).get("yolo26n.pt")
    with pytest.raises(WeightsError, match=r"there are no weights 'yolo99n.pt'"):
        WeightsStore(Settings(model_root=root)).get("yolo99n.pt")


QUIET = """
    import atexit, json, sys
    asked = []

    def watch(event, arguments):
        if event in ("socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork"):
            if "/sbin/ldconfig" not in repr(arguments):  # where Python looks for libraries
                asked.append([event, repr(arguments[:2])])
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            asked.append([event, repr(arguments[1])])

    sys.addaudithook(watch)
    from pathlib import Path
    from yolo_backend.inference.library import import_openvino
    from yolo_backend.label_studio.client import LabelStudio
    from yolo_backend.pipeline.engine import Engine
    from yolo_backend.settings import Settings

    root, images = map(Path, sys.argv[1:])
    settings = Settings(
        model_root=root, model_dir=root / "data", local_files_document_root=images, debug_plot=True, runtime="pytorch",
        allow_downloads=False,
    )
    engine = Engine(settings)
    found = []
    for name in ("yolov5s.pt", "it's.pt", "yolo26n.pt"):
        label = '<Label value="b\\u00fccher" predicted_values="qr_code,barcode,b\u00fccher,b\u00fccherei"/>'
        control = f'<RectangleLabels name="c" toName="i" model_path="{name}">{label}</RectangleLabels>'
        plan = engine.plan(f'<View><Image name="i" value="$i"/>{control}</View>')
        task = {"id": name, "data": {"i": "/data/local-files/?d=photo-02.jpg"}}
        (prediction,) = engine.predict(plan, [task], LabelStudio(url=None))
        found.append(prediction is not None and len(prediction.regions))
    import_openvino()
    import onnxruntime
    atexit.register(lambda: print(json.dumps([found, asked])))  # when no thread is left
"""


def test_the_libraries_ask_nobody_and_start_nothing(root: Path) -> None:
    """They would list the machine's fonts, fetch one for names like bücher, and look for these weights under other names.

    OpenVINO and ONNX Runtime would report to their makers that they were imported, and keep an id in the home directory.
    """
    ultralytics()
    import torch

    checkpoint = torch.load(DEMO, weights_only=False)
    model = checkpoint.get("ema") or checkpoint["model"]
    model.names = {0: "bücher", 1: "bücherei"}
    torch.save(checkpoint, root / "yolov5s.pt")
    shutil.copy(DEMO, root / "it's.pt")
    home = root / "home"
    home.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(QUIET), str(root), str(PROJECT_DIR / "examples" / "images")]
    done = subprocess.run(
        command, cwd=PROJECT_DIR, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, asked = json.loads(done.stdout.splitlines()[-1])
    assert found == [2, 2, False], done.stderr
    assert asked == []
    assert list(home.rglob("*")) == []


def test_parameters_of_a_tracker_load_no_second_model(root: Path) -> None:
    from yolo_backend.pipeline.plan import make_plan

    tag = '<VideoRectangle name="b" toName="v" botsort_with_reid="true" botsort_model="../secret.pt"/>'
    xml = f'<View><Video name="v" value="$v"/>{tag}<Labels name="l" toName="v"><Label value="qr_code"/></Labels></View>'
    plan: Any = make_plan(xml, Settings())
    assert any("botsort_with_reid" in problem for problem in plan.problems)
    assert any("botsort_model" in problem for problem in plan.problems)
    assert "secret" not in repr(plan.controls)
