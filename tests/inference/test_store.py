"""The library's own predictions, number for number, from every runtime."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.networks import Networks
from yolo_backend.errors import WeightsError
from yolo_backend.inference import Model, ModelSpec, ModelStore, PredictOptions, WeightsStore
from yolo_backend.inference.backends import loading
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.inference.backends.openvino import OpenVINOBackend
from yolo_backend.inference.device import _may_have_gpu, choose_device
from yolo_backend.inference.exports import MANIFEST, ONNX_FILE, Exports
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.postprocess import _prob_iou, nms_obb
from yolo_backend.inference.preprocess import Letterbox
from yolo_backend.inference.weights import sha256
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR, Settings

TASKS = ("detect", "segment", "pose", "obb", "classify")
OPTIONS = PredictOptions()


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    paths = sorted((PROJECT_DIR / "examples" / "images").glob("*.jpg"))
    pictures = [picture for path in paths if (picture := cv2.imread(str(path))) is not None]
    # Upright, wide and tiny ones too.
    made = [pictures[0].transpose(1, 0, 2), pictures[1][:90], pictures[2][:40, :50], pictures[3][:, :60]]
    return [np.ascontiguousarray(picture) for picture in [*pictures, *made]]


@pytest.fixture(scope="module")
def by_the_library(photos: list[np.ndarray]) -> Callable[[str], list[Any]]:
    @cache
    def predict(task: str) -> list[Any]:
        library = ultralytics().YOLO(bundled(task))
        asked = {"conf": 0.25, "iou": 0.7, "retina_masks": True, "device": "cpu", "verbose": False}
        return [library.predict(photo, **asked)[0] for photo in photos]

    return predict


def bundled(task: str) -> Path:
    return BUNDLED_MODELS / f"demo-{task}.pt"


def in_pytorch(path: Path, networks: Networks) -> Model:
    return Model(load_backend(path, "cpu", batch_size=8))


def in_openvino(path: Path, networks: Networks) -> Model:
    return Model(OpenVINOBackend(networks.make(path)))


def in_onnx_runtime(path: Path, networks: Networks) -> Model:
    made = networks.make(path, "onnx")
    return Model(Exports(made.parent, "onnx").load(made))


def onnx_in_openvino(path: Path, networks: Networks) -> Model:
    return Model(load_backend(networks.make(path, "onnx") / ONNX_FILE, "cpu", batch_size=8))


@pytest.mark.slow
@pytest.mark.parametrize("load", [in_pytorch, in_openvino, in_onnx_runtime, onnx_in_openvino])
@pytest.mark.parametrize("task", TASKS)
def test_the_librarys_own_predictions(
    task: str,
    load: Callable[[Path, Networks], Model],
    networks: Networks,
    photos: list[np.ndarray],
    by_the_library: Callable[[str], list[Any]],
) -> None:
    model = load(bundled(task), networks)
    by_library = by_the_library(task)
    assert (model.task, model.names) == (task, by_library[0].names)
    objects = 0
    for photo, found, expected in zip(photos, model.predict(photos, OPTIONS), by_library, strict=True):
        if task == "classify":
            assert found.probabilities == pytest.approx(expected.probs.data.numpy(), abs=0.01)
            objects += 1
            continue
        rows = expected.boxes if expected.obb is None else expected.obb
        assert len(found) == len(rows)
        objects += len(found)
        order = np.argsort(-rows.conf.numpy(), kind="stable")
        assert found.classes.tolist() == rows.cls.numpy()[order].tolist()
        assert found.scores == pytest.approx(rows.conf.numpy()[order], abs=0.01)
        height, width = photo.shape[:2]
        corners = np.clip(rows.xyxy.numpy()[order], 0, (width, height, width, height))
        assert found.boxes == pytest.approx(corners, abs=1)
        if expected.obb is not None:
            assert found.obb is not None
            assert found.obb[:, :4] == pytest.approx(expected.obb.xywhr.numpy()[order, :4], abs=1)
            assert found.obb[:, 4] == pytest.approx(expected.obb.xywhr.numpy()[order, 4], abs=0.02)
        if expected.keypoints is not None and len(found):
            assert found.keypoints is not None
            assert found.keypoints[..., :2] == pytest.approx(expected.keypoints.xy.numpy()[order], abs=1)
        if expected.masks is not None:
            assert found.masks is not None
            for place, index in enumerate(order):
                mask, drawn = expected.masks.data[index].numpy() > 0, found.masks.draw(place, width, height) > 0
                assert (mask & drawn).sum() / (mask | drawn).sum() > 0.98
    assert objects > 15


@pytest.mark.slow
def test_a_network_is_made_in_the_background_and_goes_on_where_pytorch_was(
    tmp_path: Path, photos: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(model_dir=tmp_path, runtime="openvino", device="cpu")
    store = ModelStore(settings, WeightsStore(settings))
    model = store.get(ModelSpec(weights="demo-detect.pt"))
    assert model.runtime == "pytorch"
    before = model.predict(photos, OPTIONS)
    store._exporter.shutdown(wait=True)
    assert model is store.get(ModelSpec(weights="demo-detect.pt"))
    assert store.loaded() == [
        {"weights": "demo-detect.pt", "task": "detect", "runtime": "openvino", "device": "cpu"},
    ]
    for old, new in zip(before, model.predict(photos, OPTIONS), strict=True):
        assert new.boxes == pytest.approx(old.boxes, abs=1)
        assert new.scores == pytest.approx(old.scores, abs=0.01)
    # The next process finds it.
    again = ModelStore(settings, WeightsStore(settings)).get(ModelSpec(weights="demo-detect.pt"))
    assert again.runtime == "openvino"
    # A damaged one is not used, and made again.
    (network,) = (tmp_path / "openvino").glob("demo-detect-*_openvino_model")
    weights = next(network.glob("*.bin"))
    weights.write_bytes(weights.read_bytes()[:-100])
    third = ModelStore(settings, WeightsStore(settings))
    repaired = third.get(ModelSpec(weights="demo-detect.pt"))
    assert repaired.runtime == "pytorch"
    third._exporter.shutdown(wait=True)
    assert repaired.runtime == "openvino"


def test_pytorch_answers_on_where_no_network_can_be_kept(
    tmp_path: Path, photos: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    settings = Settings(model_dir=in_the_way, runtime="openvino", device="cpu")
    store = ModelStore(settings, WeightsStore(settings))
    model = store.get(ModelSpec(weights="demo-detect.pt"))
    with caplog.at_level(logging.WARNING):
        store._exporter.shutdown(wait=True)
    assert "demo-detect.pt stays with PyTorch" in caplog.text
    assert len(model.predict(photos[:2], OPTIONS)) == 2


@pytest.mark.slow
def test_of_two_that_make_a_network_one_does(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = bundled("classify")
    digest = sha256(path)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: Exports(tmp_path).make(path, digest), range(2)))
    assert made[0] == made[1]
    assert sorted(file.suffix for file in made[0].iterdir()) == [".bin", ".json", ".xml", ".yaml"]
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".making")] == []
    changed = (made[0] / MANIFEST).stat().st_mtime_ns
    assert Exports(tmp_path).make(path, digest) == made[0]
    assert (made[0] / MANIFEST).stat().st_mtime_ns == changed


FIRST_USE = """
import faulthandler, sys, threading
from pathlib import Path
import numpy as np
from yolo_backend.inference.backends.openvino import OpenVINOBackend

faulthandler.dump_traceback_later(60, exit=True)
sys.setswitchinterval(1e-6)
networks = [OpenVINOBackend(Path(path)) for path in sys.argv[1:]]
begin = threading.Barrier(2 * len(networks))

def infer(network):
    picture = np.zeros((64, 64, 3), np.uint8)
    network._compiled.get((picture.shape, False), lambda: network._compile(picture.shape, alone=False))
    begin.wait()
    network.infer(picture)

threads = [threading.Thread(target=infer, args=[network]) for network in networks * 2]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.slow
def test_the_first_pictures_of_a_process_may_come_at_once(networks: Networks) -> None:
    """Else OpenVINO's package has one in four of such processes wait for ever."""
    made = networks.make(bundled("detect"))
    for _ in range(6):
        subprocess.run([sys.executable, "-c", FIRST_USE, made, made], cwd=PROJECT_DIR, check=True, timeout=120)


@pytest.mark.slow
def test_exported_weights_are_weights(tmp_path: Path, networks: Networks, photos: list[np.ndarray]) -> None:
    """A directory for OpenVINO under MODEL_ROOT is used as it is."""
    made = networks.make(bundled("detect"))
    shutil.copytree(made, tmp_path / "mine_openvino_model")
    settings = Settings(model_root=tmp_path, model_dir=tmp_path / "data", device="cpu")
    weights = WeightsStore(settings)
    assert "mine_openvino_model" in weights.available()
    model = ModelStore(settings, weights).get(ModelSpec(weights="mine_openvino_model"))
    assert model.runtime == "openvino"
    expected = in_openvino(bundled("detect"), networks).predict(photos, OPTIONS)
    for one, other in zip(model.predict(photos, OPTIONS), expected, strict=True):
        assert one.boxes == pytest.approx(other.boxes, abs=1)
    before = weights.digest("mine_openvino_model")
    file = next((tmp_path / "mine_openvino_model").glob("*.bin"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0\0")
    assert weights.digest("mine_openvino_model") != before
    # Who is at work with the old file isn't touched, and an input of another shape reads no file any more.
    again = model.predict([photos[0][:, :200]], OPTIONS)
    file.write_bytes(b"")
    assert model.predict([photos[0][:200]], OPTIONS)
    (one,), (other,) = again, in_openvino(bundled("detect"), networks).predict([photos[0][:, :200]], OPTIONS)
    assert one.boxes == pytest.approx(other.boxes, abs=1)


@pytest.mark.slow
def test_weights_that_are_replaced_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is kept under the name of a content that it wasn't made of."""
    path = Path(shutil.copy(bundled("detect"), tmp_path / "mine.pt"))
    old = sha256(path)
    settings = Settings(model_root=tmp_path, model_dir=tmp_path / "data", device="cpu", runtime="pytorch")
    store = ModelStore(settings, WeightsStore(settings))

    def replaced(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        shutil.copy(bundled("segment"), path)
        return load_backend(*arguments, **options)

    monkeypatch.setattr("yolo_backend.inference.store.load_backend", replaced)
    with pytest.raises(WeightsError, match="replaced while they were loaded"):
        store.get(ModelSpec(weights="mine.pt"))
    assert store.loaded() == []
    assert store.get(ModelSpec(weights="mine.pt")).task == "segment"
    with pytest.raises(WeightsError, match="the weights were replaced"):
        Exports(tmp_path).make(path, old)
    assert Exports(tmp_path).find(path, old) is None


@pytest.mark.slow
@pytest.mark.parametrize("load", [in_pytorch, in_openvino, in_onnx_runtime, onnx_in_openvino])
def test_another_input_size_is_one_in_every_runtime(
    load: Callable[[Path, Networks], Model], networks: Networks, photos: list[np.ndarray]
) -> None:
    library = ultralytics().YOLO(bundled("detect"))
    found = load(bundled("detect"), networks).predict(photos[:6], replace(OPTIONS, imgsz=640))
    for photo, one in zip(photos, found, strict=False):
        expected = library.predict(photo, conf=0.25, iou=0.7, imgsz=640, device="cpu", verbose=False)[0].boxes
        order = np.argsort(-expected.conf.numpy(), kind="stable")
        assert one.boxes == pytest.approx(expected.xyxy.numpy()[order], abs=1)
        assert one.scores == pytest.approx(expected.conf.numpy()[order], abs=0.01)
    assert sum(map(len, found)) > 5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.onnx", "can't be loaded"),
        ("mine.engine", "can't be used here: an engine runs on an NVIDIA GPU"),
        (
            "mine.tflite",
            "can't be used here: they need the Python package ai-edge-litert, .*: pip install ai-edge-litert",
        ),
    ],
)
def test_what_a_format_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"no network")
    monkeypatch.setattr(loading, "NEEDS", {".tflite": ("no_such_module", "ai-edge-litert")})
    settings = Settings(
        model_root=tmp_path, model_dir=tmp_path / "data", device="cpu", model_sha256=sha256(tmp_path / name)
    )
    with pytest.raises(WeightsError, match=f"{name!r} {words}"):
        ModelStore(settings, WeightsStore(settings)).get(ModelSpec(weights=name))


@pytest.mark.slow
def test_pytorch_weights_run_in_onnx_runtime_where_asked(
    tmp_path: Path, networks: Networks, photos: list[np.ndarray]
) -> None:
    networks.give(tmp_path, bundled("detect"), runtime="onnx")
    settings = Settings(model_dir=tmp_path, runtime="onnx", device="cpu")
    model = ModelStore(settings, WeightsStore(settings)).get(ModelSpec(weights="demo-detect.pt"))
    assert model.runtime == "onnx"
    assert sum(map(len, model.predict(photos, OPTIONS))) > 15


def test_a_runtime_that_is_not_installed_leaves_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Exports, "_lacking", lambda _: ["onnx", "onnxruntime"])
    settings = Settings(model_dir=tmp_path, runtime="onnx", device="cpu")
    store = ModelStore(settings, WeightsStore(settings))
    assert store.get(ModelSpec(weights="demo-detect.pt")).runtime == "pytorch"
    store._exporter.shutdown(wait=True)
    assert "RUNTIME=onnx needs what is not installed: pip install onnx onnxruntime, or set RUNTIME=auto" in caplog.text


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "mine_openvino_model"
    directory.mkdir()
    (directory / "metadata.yaml").write_text("task: detect\nnames: {0: a}\n")
    (directory / "mine.xml").write_text("<net/>")
    settings = Settings(model_root=tmp_path, model_dir=tmp_path / "data", device="cpu")
    with pytest.raises(WeightsError, match="'mine_openvino_model' can't be loaded"):
        ModelStore(settings, WeightsStore(settings)).get(ModelSpec(weights="mine_openvino_model"))


def test_a_device_that_is_not_there() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(WeightsError, match=r"DEVICE=cuda:7 is not there: this machine has .*cpu"):
        choose_device("cuda:7")


@pytest.mark.parametrize("seed", range(40))
def test_pictures_lie_in_the_input_as_the_library_lays_them(seed: int) -> None:
    ultralytics()
    from ultralytics.data.augment import LetterBox

    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 900, 2).tolist()
    size = int(rng.choice([64, 320, 640]))
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    for stride in (32, None):
        ours = Letterbox.fit(width, height, (size, size), stride=stride).apply(pixels)
        theirs = LetterBox((size, size), auto=stride is not None, stride=32)(image=pixels)
        assert ours.shape == theirs.shape
        assert (ours == theirs).all()


@pytest.mark.parametrize("seed", range(5))
def test_rotated_boxes_are_suppressed_as_the_library_does(seed: int) -> None:
    ultralytics()
    import torch
    from ultralytics.utils.metrics import batch_probiou
    from ultralytics.utils.nms import TorchNMS

    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0, 100, (60, 2)), rng.uniform(5, 60, (60, 2)), rng.uniform(0, 3, 60)])
    scores = rng.uniform(0, 1, 60)
    tensor = torch.tensor(boxes)
    assert _prob_iou(boxes) == pytest.approx(batch_probiou(tensor, tensor).numpy(), abs=1e-6)
    expected = TorchNMS.fast_nms(tensor, torch.tensor(scores), 0.5, iou_func=batch_probiou)
    assert nms_obb(boxes, scores, np.zeros(60, int), 0.5).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("files", "may_have"),
    [([], False), (["null", "nvme0"], False), (["nvidia0"], True), (["dxg"], True), (["kfd"], True), (["nvmap"], True)],
)
def test_pytorch_is_asked_for_a_gpu_where_there_may_be_one(tmp_path: Path, files: list[str], may_have: bool) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert _may_have_gpu(tmp_path) == (may_have or sys.platform != "linux")


@pytest.mark.slow
def test_a_process_that_finds_its_networks_does_without_pytorch(tmp_path: Path, networks: Networks) -> None:
    """It starts in a second, and takes a third of the memory."""
    networks.give(tmp_path, bundled("detect"))
    program = """
import sys
from yolo_backend.pipeline.engine import Engine
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.settings import PROJECT_DIR, load_settings

engine = Engine(load_settings())
assert not engine.models.is_ready
engine.models.prepare()
assert engine.models.is_ready
label = '<Label value="qr_code"/><Label value="barcode"/>'
boxes = f'<RectangleLabels name="b" toName="i" model_path="demo-detect.pt">{label}</RectangleLabels>'
plan = engine.plan(f'<View><Image name="i" value="$i"/>{boxes}</View>')
task = {"data": {"i": "/data/local-files/?d=photo-01.jpg"}}
(prediction,) = engine.predict(plan, [task], LabelStudio(url=None))
print(len(prediction.regions), *(name for name in ("torch", "ultralytics") if name in sys.modules))
"""
    environment = {
        **os.environ,
        "MODEL_DIR": str(tmp_path),
        "RUNTIME": "auto",
        # Where there may be a GPU, PyTorch is asked for it.
        "DEVICE": "cpu" if _may_have_gpu() else "auto",
        "LOCAL_FILES_DOCUMENT_ROOT": str(PROJECT_DIR / "examples" / "images"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()[1:]) == (0, []), done.stderr
    assert int(done.stdout.split()[0]) > 0
