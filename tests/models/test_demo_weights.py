"""The bundled weights: what they say they are, small, with nothing of the machine that made them, and good at it."""

import json
import pickletools
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from yolo_backend.inference.library import ultralytics

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "examples" / "images"
CODES = {0: "qr_code", 1: "barcode"}
WEIGHTS = {
    "detect": CODES,
    "segment": CODES,
    "pose": CODES,
    "obb": CODES,
    "classify": {0: "barcode", 1: "none", 2: "qr_code"},
}


def weights_of(task: str) -> Path:
    return ROOT / "models" / f"demo-{task}.pt"


@pytest.mark.parametrize("task", WEIGHTS)
def test_weights_say_what_they_are(task: str) -> None:
    model = ultralytics().YOLO(weights_of(task))
    assert model.task == task
    assert model.names == WEIGHTS[task]
    assert model.overrides["imgsz"] in (224, 320, 416, 480)
    assert weights_of(task).stat().st_size <= 3e6


@pytest.mark.parametrize("task", WEIGHTS)
def test_weights_hold_no_path_and_only_known_types(task: str) -> None:
    with zipfile.ZipFile(weights_of(task)) as archive:
        (pickled,) = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    strings, modules = set(), set()
    for opcode, argument, _ in pickletools.genops(pickled):
        if not isinstance(argument, str):
            continue
        if opcode.name == "GLOBAL":
            modules.add(argument.split(" ")[0].split(".")[0])
        else:
            strings.add(argument)
    assert not [text for text in strings if text.startswith(("/", "\\", "~")) or text[1:3] == ":\\"]
    assert modules <= {"__builtin__", "builtins", "collections", "torch", "torchvision", "ultralytics"}


def truth() -> dict[str, dict]:
    return json.loads((IMAGES / "truth.json").read_text(encoding="utf-8"))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    shared = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None).prod()
    return float(shared / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared))


def test_truth_is_about_the_images_as_shown() -> None:
    files = {path.name for path in IMAGES.glob("*.jpg")}
    entries = truth()
    assert set(entries) == files
    assert sum(not entry["objects"] for entry in entries.values()) == 2
    orientations = []
    for name, entry in entries.items():
        with Image.open(IMAGES / name) as image:
            orientations.append(image.getexif().get(0x0112, 1))
            assert ImageOps.exif_transpose(image).size == (entry["width"], entry["height"])
        for item in entry["objects"]:
            corners = np.array(item["corners"])
            left, top = corners.min(0)
            right, bottom = corners.max(0)
            assert np.allclose(item["box"], [left, top, right - left, bottom - top], atol=0.02)
            assert left >= 0
            assert top >= 0
            assert right <= entry["width"]
            assert bottom <= entry["height"]
    assert sorted(orientations) == [1] * (len(entries) - 1) + [6]


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_detector_finds_every_code_of_the_sample_images(threshold: float) -> None:
    """Every one with IoU of 0.8 or more and the right label; at most one false box per ten images."""
    model = ultralytics().YOLO(weights_of("detect"))
    false = 0
    for name, entry in truth().items():
        pixels = cv2.imread(str(IMAGES / name), cv2.IMREAD_COLOR)  # OpenCV turns by EXIF, as browsers do
        boxes = model.predict(pixels, conf=threshold, device="cpu", verbose=False)[0].boxes.numpy()
        found = [(CODES[int(cls)], box) for cls, box in zip(boxes.cls, boxes.xyxy, strict=True)]
        for item in entry["objects"]:
            x, y, width, height = item["box"]
            overlaps = [iou(box, np.array([x, y, x + width, y + height])) for _, box in found]
            best = int(np.argmax(overlaps)) if overlaps else -1
            assert best >= 0, f"{name}: nothing found, wanted {item}"
            assert overlaps[best] >= 0.8, f"{name}: {item} only with IoU {overlaps[best]:.2f}"
            label, _ = found.pop(best)
            assert label == item["label"], f"{name}: {item} called {label}"
        false += len(found)
    assert false <= len(truth()) / 10
