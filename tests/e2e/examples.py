"""The labeling configs of ``examples/``: what each is tried on, what it should give, and where that is to be seen."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .drawings import (
    LABELS,
    Drawing,
    Form,
    Shape,
    Size,
    assert_alike,
    covered,
    inscribed_ellipse,
    iou,
    of_regions,
    of_truth,
    quadrilateral,
    rotated_box,
    upright_box,
)
from .exports import (
    Read,
    brush_pictures,
    coco_boxes,
    coco_contours,
    coco_outlines,
    yolo_boxes,
    yolo_outlines,
    yolo_poses,
)
from .installation import REPOSITORY
from .label_studio import LabelStudio
from .tag_editor import TagEditor
from .truth import IMAGES, Box, pairs, true_boxes, true_objects
from .truth import iou as box_iou

VIDEOS = REPOSITORY / "examples" / "video"

# Landscape, portrait, one with a code that lies aslant, and one with nothing on it.
PHOTOS = ("photo-19.jpg", "photo-18.jpg", "photo-07.jpg", "photo-17.jpg")

# How well a model finds what is there, and how well the editor draws what it was told. Points are in pixels.
FOUND = {"min_iou": 0.75, "max_apart": 16}
DRAWN = {"min_iou": 0.94, "max_apart": 2}

Regions = Sequence[Mapping[str, Any]]


class Example(ABC):
    """What one labeling config is tried on."""

    #: How to read the exports of pictures that the tag has, by format.
    exports: Mapping[str, Read] = {}
    #: What the editor is to be opened on, and shown in the docs.
    shown: str

    @abstractmethod
    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        """Make a task of each sample: task ids by the samples' names. ``directory`` is for files to upload."""

    @abstractmethod
    def check(self, sample: str, regions: Regions) -> None:
        """Compare the regions that a sample got with the truth."""

    @abstractmethod
    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        """Compare what the editor draws on the shown sample with the truth, and with its regions."""

    def pose(self, editor: TagEditor) -> None:  # noqa: B027 - need not be overridden
        """Bring the editor to where a screenshot says most: to be overridden where that isn't how it opens."""


@dataclass(frozen=True, kw_only=True)
class Photos(Example):
    """Objects of a form on photos; with their ``corners`` as points, if the tag gives those."""

    form: Form
    corners: bool = False
    exports: Mapping[str, Read] = field(default_factory=dict)
    shown: str = PHOTOS[2]

    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        return label_studio.upload(project, [IMAGES / name for name in PHOTOS])

    def truth(self, sample: str) -> Drawing:
        """What should be on a photo."""
        return of_truth(sample, self.form, corners=self.corners)

    def check(self, sample: str, regions: Regions) -> None:
        assert_alike(of_regions(regions), self.truth(sample), **FOUND)

    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        size, _ = true_objects(self.shown)
        saved = of_regions(regions)
        drawn = editor.drawing(size, regions=len(saved.shapes) + len(saved.points))
        assert_alike(drawn, saved, **DRAWN)
        assert_alike(drawn, self.truth(self.shown), **FOUND)
        covered_by_any = np.any([shape.mask for shape in saved.shapes], axis=0)
        on_screen = iou(editor.painted(size), covered_by_any)
        assert on_screen > 0.9, f"what is on the screen overlaps the regions by {on_screen:.3f}"


@dataclass(frozen=True, kw_only=True)
class Pages(Example):
    """Photos of different sizes as the pages of one task."""

    form: Form
    pages: tuple[str, ...] = PHOTOS[:2]
    shown: str = "pages"

    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        beside = label_studio.create_project('<View><Image name="image" value="$image"/></View>')
        uploaded = label_studio.upload(beside, [IMAGES / name for name in self.pages])
        files = [label_studio.uploaded_file(uploaded[name]) for name in self.pages]
        media = label_studio.data_dir / "media"
        (task,) = label_studio.import_tasks(
            project, [{"pages": [f"/data/{file.relative_to(media)}" for file in files]}]
        )
        return {self.shown: task}

    def check(self, sample: str, regions: Regions) -> None:
        assert {region["item_index"] for region in regions} <= set(range(len(self.pages)))
        for index, page in enumerate(self.pages):
            assert_alike(of_regions(_on_page(regions, index)), of_truth(page, self.form), **FOUND)

    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        for index, page in enumerate(self.pages):
            editor.turn_to_page(index)
            size, _ = true_objects(page)
            saved = of_regions(_on_page(regions, index))
            drawn = editor.drawing(size, regions=len(saved.shapes))
            assert_alike(drawn, saved, **DRAWN)
            assert_alike(drawn, of_truth(page, self.form), **FOUND)

    def pose(self, editor: TagEditor) -> None:
        editor.turn_to_page(1)


def _on_page(regions: Regions, index: int) -> list[Mapping[str, Any]]:
    return [region for region in regions if region["item_index"] == index]


@dataclass(frozen=True, kw_only=True)
class Cuttings(Example):
    """Pictures with codes of one kind only, or none. ``answers`` are what they should be called, by class."""

    answers: Mapping[str, Any]
    shown: str = "qr_code.png"

    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        files = [directory / f"{label}.png" for label in self.answers]
        for file in files:
            _cutting(file.stem).save(file)
        return label_studio.upload(project, files)

    def check(self, sample: str, regions: Regions) -> None:
        (region,) = regions
        answer = region["value"][region["type"]]
        assert answer == [self.answers[Path(sample).stem]], f"{sample} is said to be {answer}"

    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        answer = self.answers[Path(self.shown).stem]
        chosen = editor.chosen()
        assert chosen == [answer[-1] if isinstance(answer, list) else answer], f"the editor shows {chosen}"


def _cutting(label: str) -> Image.Image:
    """A code of this class with some room around it, cut out of a photo; for ``none`` a photo without codes."""
    if label == "none":
        return Image.open(IMAGES / "photo-17.jpg")
    image = Image.open(IMAGES / "photo-07.jpg")
    (box,) = (box for box in true_boxes("photo-07.jpg", {name: name for name in LABELS}) if box.label == label)
    room = max(box.width, box.height) / 4
    left, top = max(0, box.x - room), max(0, box.y - room)
    right, bottom = min(image.width, box.x + box.width + room), min(image.height, box.y + box.height + room)
    return image.crop((round(left), round(top), round(right), round(bottom)))


@dataclass(frozen=True, kw_only=True)
class TrackedClip(Example):
    """Objects that move through a video."""

    shown: str = "codes.mp4"
    #: At the start, while one of the objects is out of sight, and towards the end.
    frames: tuple[int, ...] = (1, 130, 250)

    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        return label_studio.upload(project, [VIDEOS / self.shown])

    def check(self, sample: str, regions: Regions) -> None:
        clip = Clip(sample)
        assert all(region["value"]["framesCount"] == clip.frames for region in regions)
        overlaps: list[float] = []
        followed: set[tuple[str, int]] = set()
        truths = founds = 0
        for frame in range(1, clip.frames + 1):
            found, truth = list(_boxes_at(frame, regions, clip.size)), list(clip.objects(frame))
            together = pairs([[box_iou(box, other) for _, other in truth] for _, box in found], least=0.5)
            for i, j in together.items():
                (region, box), (number, true) = found[i], truth[j]
                assert box.label == true.label, f"frame {frame}: {box} should be {true}"
                overlaps.append(box_iou(box, true))
                followed.add((region, number))
            truths += len(truth)
            founds += len(found)
        assert len(overlaps) >= 0.95 * max(truths, founds), f"{len(overlaps)} of {truths} boxes, {founds} found"
        assert np.mean(overlaps) >= 0.85, f"boxes overlap the true ones by {np.mean(overlaps):.3f}"
        # No two objects are taken for the same, and none is lost in sight. One that comes back may be another region.
        assert len(followed) == len(regions) <= clip.appearances(), f"which region follows which object: {followed}"

    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        clip = Clip(self.shown)
        for frame in self.frames:
            editor.go_to_frame(frame)
            drawn, pixels = editor.frame_drawing(clip.size)
            assert_alike(drawn, _drawing((box for _, box in clip.objects(frame)), clip.size), **FOUND)
            nearest = clip.nearest_frame(pixels, near=frame)
            assert nearest == frame, f"the editor shows frame {nearest} as {frame}"

    def pose(self, editor: TagEditor) -> None:
        editor.go_to_frame(self.frames[-1])


@dataclass(frozen=True, kw_only=True)
class TimelineClip(Example):
    """What is to be seen when in a video."""

    shown: str = "passing.mp4"

    def upload(self, label_studio: LabelStudio, project: int, directory: Path) -> dict[str, int]:
        return label_studio.upload(project, [VIDEOS / self.shown])

    def check(self, sample: str, regions: Regions) -> None:
        clip = Clip(sample)
        on = [(label, set(range(first, last + 1))) for label, first, last in _ranges(regions)]
        for label in LABELS.values():
            truth = {n for n in range(1, clip.frames + 1) if label in {box.label for _, box in clip.objects(n)}}
            found = set().union(*(frames for name, frames in on if name == label))
            assert len(found & truth) >= 0.85 * len(found | truth) > 0, f"{label}: {_ranges(regions)}"

    def check_drawn(self, editor: TagEditor, regions: Regions) -> None:
        shown = editor.timeline()
        assert sorted(shown) == sorted(_ranges(regions)), f"the editor shows {shown}"

    def pose(self, editor: TagEditor) -> None:
        clip = Clip(self.shown)
        editor.go_to_frame(next(n for n in range(1, clip.frames) if any(clip.objects(n))) + 20)


def _ranges(regions: Regions) -> list[tuple[str, int, int]]:
    return [
        (label, span["start"], span["end"])
        for region in regions
        for label in region["value"]["timelinelabels"]
        for span in region["value"]["ranges"]
    ]


def _boxes_at(frame: int, regions: Regions, size: Size) -> Iterator[tuple[str, Box]]:
    """The ids of the tracked regions that hold a box for a frame, and the boxes in pixels."""
    width, height = np.array(size) / 100
    for region in regions:
        for key in region["value"]["sequence"]:
            if key["frame"] == frame:
                (label,) = region["value"]["labels"]
                box = Box(label, key["x"] * width, key["y"] * height, key["width"] * width, key["height"] * height)
                yield region["id"], box


def _drawing(boxes: Iterable[Box], size: Size) -> Drawing:
    outlines = [(box.label, np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]])) for box in boxes]
    return Drawing(shapes=[Shape(label=label, mask=covered(upright_box(box), size)) for label, box in outlines])


class Clip:
    """A sample video with its truth. Frames count from 1."""

    def __init__(self, name: str) -> None:
        truth = json.loads((VIDEOS / "truth.json").read_text())[name]
        self.size = truth["width"], truth["height"]
        self.frames = len(truth["frames"])
        self._objects = truth["frames"]
        self._path = VIDEOS / name

    def objects(self, frame: int) -> Iterator[tuple[int, Box]]:
        """The numbers of the objects that are to be seen on a frame, and their boxes in pixels."""
        for thing in self._objects[frame - 1]:
            yield thing["id"], Box(LABELS[thing["label"]], *thing["box"])

    def appearances(self) -> int:
        """How many times an object came into view."""
        numbers = [{thing["id"] for thing in frame} for frame in [[], *self._objects]]
        return sum(len(now - before) for before, now in itertools.pairwise(numbers))

    def nearest_frame(self, pixels: np.ndarray, *, near: int) -> int:
        """The number of the frame that is most like ``pixels`` (height, width, 3), RGB, of those within 12 of ``near``."""
        video = cv2.VideoCapture(str(self._path))
        apart = {}
        for frame in range(1, min(near + 12, self.frames) + 1):
            _, decoded = video.read()
            if frame >= near - 12:
                apart[frame] = float(np.abs(decoded[:, :, ::-1].astype(np.int16) - pixels).mean())
        video.release()
        return min(apart, key=lambda frame: apart[frame])


EXAMPLES: dict[str, Example] = {
    "RectangleLabels": Photos(
        form=upright_box, exports={"YOLO": yolo_boxes, "YOLO_OBB": yolo_outlines, "COCO": coco_boxes}
    ),
    # As YOLO and COCO have them, boxes are upright.
    "RectangleLabels-rotated": Photos(form=rotated_box, exports={"YOLO_OBB": yolo_outlines}),
    "RectangleLabels-pages": Pages(form=upright_box),
    "Rectangle": Photos(form=upright_box, exports={"YOLO": yolo_boxes, "YOLO_OBB": yolo_outlines, "COCO": coco_boxes}),
    "PolygonLabels": Photos(form=quadrilateral, exports={"YOLO": yolo_outlines, "COCO": coco_outlines}),
    "BrushLabels": Photos(form=quadrilateral, exports={"BRUSH_TO_COCO": coco_contours, "BRUSH_TO_PNG": brush_pictures}),
    "KeyPointLabels": Photos(form=upright_box, corners=True, exports={"YOLO": yolo_poses, "COCO": coco_boxes}),
    "EllipseLabels": Photos(form=inscribed_ellipse),
    "Choices": Cuttings(answers={"qr_code": "QR code", "barcode": "Barcode", "none": "Neither"}),
    "Taxonomy": Cuttings(
        answers={
            "qr_code": ["Code", "Matrix", "QR code"],
            "barcode": ["Code", "Linear", "Barcode"],
            "none": ["Neither"],
        }
    ),
    "VideoRectangle": TrackedClip(),
    "TimelineLabels": TimelineClip(),
}
"""By the name of the file in ``examples/``."""


def labeling_config(name: str) -> str:
    """The labeling config of an example."""
    return (REPOSITORY / "examples" / f"{name}.xml").read_text()
