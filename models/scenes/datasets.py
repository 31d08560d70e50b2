"""Scenes written out as the training data of each YOLO task."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from . import backgrounds
from .codes import LABELS
from .scene import Scene, SceneObject, draw_scene

TASKS = ("detect", "segment", "pose", "obb", "classify")
NONE = "none"
FAMILIES: Mapping[str, Mapping[str, backgrounds.Painter]] = {
    "train": backgrounds.TRAINING,
    "held out": backgrounds.HELD_OUT,
}


def label_line(task: str, item: SceneObject, width: int, height: int) -> str:
    """One object as a line of the library's label format: the class, then fractions of the image's size."""
    corners = (item.corners / [width, height]).ravel().tolist()
    left, top, right, bottom = (item.box / [width, height, width, height]).tolist()
    box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    numbers = {"detect": box, "segment": corners, "obb": corners, "pose": [*box, *corners]}[task]
    return " ".join([str(LABELS.index(item.label)), *(f"{number:.6f}" for number in numbers)])


def write_datasets(root: Path, *, seed: int, train: int, held_out: int, turned: float | None = None) -> None:
    """Draw scenes once and write them as a data set of each task: ``root/detect``, ``root/segment`` and so on.

    ``turned`` is the share of surfaces that lie any way; by default all of them in every fourth scene, few in the others.
    """
    root.mkdir(parents=True, exist_ok=True)
    jobs = [
        partial(_write_scenes, root, split, families, seed + offset, range(start, min(start + 50, count)), turned)
        for split, families, offset, count in (("train", "train", 0, train), ("val", "held out", 1, held_out))
        for start in range(0, count, 50)
    ]
    with ProcessPoolExecutor(max_workers=os.cpu_count(), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for finished in [pool.submit(job) for job in jobs]:
            finished.result()
    for task in TASKS:
        if task != "classify":
            _describe(root / task, task)


def data_of(root: Path, task: str) -> Path:
    """What the library wants as ``data``: the description of a data set, or for classes the folder itself."""
    return root / task if task == "classify" else root / task / "data.yaml"


def _describe(folder: Path, task: str) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f"path: {folder}", "train: images/train", "val: images/val", "names:"]
    lines += [f"  {index}: {label}" for index, label in enumerate(LABELS)]
    if task == "pose":
        # Mirrored, the corners change places: 0 and 1, 2 and 3.
        lines += ["kpt_shape: [4, 2]", "flip_idx: [1, 0, 3, 2]"]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_scenes(root: Path, split: str, families: str, seed: int, indices: range, turned: float | None) -> None:
    for index in indices:
        # Upright and slanted barcodes are rare where few surfaces are turned. In every eighth scene there is more that only
        # looks like a code.
        scene = draw_scene(
            seed,
            index,
            families=FAMILIES[families],
            turned=turned if turned is not None else 1.0 if index % 4 == 3 else 0.3,
            look_alikes=6 if index % 8 == 5 else None,
        )
        for number, (label, image) in enumerate(cut_crops(scene, seed, index)):
            _write_image(root / "classify" / split / label / f"{index:05d}-{number}.jpg", image)
        height, width = scene.image.shape[:2]
        drawn = root / "detect" / "images" / split / f"{index:05d}.jpg"
        _write_image(drawn, scene.image)
        for task in TASKS:
            if task == "classify":
                continue
            labels = root / task / "labels" / split / f"{index:05d}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            lines = [label_line(task, item, width, height) for item in scene.objects]
            labels.write_text("\n".join(lines), encoding="utf-8")
            if task != "detect":
                linked = root / task / "images" / split / drawn.name
                linked.parent.mkdir(parents=True, exist_ok=True)
                os.link(drawn, linked)


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


@dataclass(frozen=True)
class _Cut:
    left: int
    top: int
    right: int
    bottom: int

    def meets(self, item: SceneObject) -> bool:
        left, top, right, bottom = item.box
        return bool(left < self.right and right > self.left and top < self.bottom and bottom > self.top)

    def of(self, image: np.ndarray) -> np.ndarray:
        return image[self.top : self.bottom, self.left : self.right]


def cut_crops(scene: Scene, *seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Images to classify, cut from one scene, each with codes of one class only or with none: (class, pixels).

    At most one per class, so that the classes stay about as frequent as in the scenes.
    """
    rng = np.random.default_rng([*seed, 1])
    height, width = scene.image.shape[:2]
    for label in LABELS:
        cut = _cut_around(rng, scene, label)
        if cut is not None:
            yield label, cut.of(scene.image)
    for _ in range(10):
        wide, high = int(width * rng.uniform(0.3, 1)), int(height * rng.uniform(0.3, 1))
        left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
        cut = _Cut(left, top, left + wide, top + high)
        if not any(cut.meets(item) for item in scene.objects):
            yield NONE, cut.of(scene.image)
            return


def _cut_around(rng: np.random.Generator, scene: Scene, label: str) -> _Cut | None:
    """A cut that shows one code of this class whole, and no code of another class."""
    height, width = scene.image.shape[:2]
    mine = [item for item in scene.objects if item.label == label]
    others = [item for item in scene.objects if item.label != label]
    if mine and not others and rng.random() < 0.4:
        return _Cut(0, 0, width, height)
    for _ in range(8 if mine else 0):
        left, top, right, bottom = mine[int(rng.integers(len(mine)))].box
        room = max(right - left, bottom - top) * rng.uniform(0.1, 1.5, 4)
        cut = _Cut(
            max(0, int(left - room[0])),
            max(0, int(top - room[1])),
            min(width, int(right + room[2])),
            min(height, int(bottom + room[3])),
        )
        if not any(cut.meets(item) for item in others):
            return cut
    return None
