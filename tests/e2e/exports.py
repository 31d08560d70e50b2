"""Label Studio's exports of annotated pictures, read as drawings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from .drawings import CORNERS, Drawing, Point, Shape, Size, covered, upright_box

Files = Mapping[str, bytes]
Read = Callable[[Files, "Pictures"], dict[str, Drawing]]
"""Gives what an export says of each picture, by its name."""


class Picture(NamedTuple):
    """An annotated picture: the id of its task, and its size."""

    task: int
    size: Size


Pictures = Mapping[str, Picture]
"""The annotated pictures by name."""

_Row = Callable[[str, np.ndarray, Size], Drawing]


def yolo_boxes(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """YOLO's label files for detection: class, centre and size in each row, as fractions of the picture."""
    return _yolo(files, pictures, _box)


def yolo_outlines(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """YOLO's label files for segmentation and oriented boxes: class and points in each row."""
    return _yolo(files, pictures, _outline)


def yolo_poses(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """YOLO's label files for poses: class, box, and the corners with their visibility (2: visible) in each row."""
    return _yolo(files, pictures, _pose)


def _yolo(files: Files, pictures: Pictures, row: _Row) -> dict[str, Drawing]:
    names = files["classes.txt"].decode().split("\n")
    labels = {_picture(path): content.decode() for path, content in files.items() if path.startswith("labels/")}
    drawings = {}
    for picture, (_, size) in pictures.items():
        drawings[picture] = drawing = Drawing()
        for line in labels[PurePosixPath(picture).stem].splitlines():
            index, *numbers = line.split()
            read = row(names[int(index)], np.array(numbers, float), size)
            drawing.shapes.extend(read.shapes)
            drawing.points.extend(read.points)
    return drawings


def _box(label: str, numbers: np.ndarray, size: Size) -> Drawing:
    x, y, width, height = numbers * (size * 2)
    corners = upright_box(np.array([[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]]))
    return Drawing(shapes=[Shape(label=label, mask=covered(corners, size))])


def _outline(label: str, numbers: np.ndarray, size: Size) -> Drawing:
    return Drawing(shapes=[Shape(label=label, mask=covered(numbers.reshape(-1, 2) * size, size))])


def _pose(label: str, numbers: np.ndarray, size: Size) -> Drawing:
    points = [
        Point(label=(label, corner), x=x * size[0], y=y * size[1])
        for corner, (x, y, visible) in zip(CORNERS, numbers[4:].reshape(-1, 3), strict=True)
        if visible == 2
    ]
    return Drawing(shapes=_box(label, numbers[:4], size).shapes, points=points)


def coco_boxes(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """COCO's boxes, in pixels; what is no box, such as key points, is left out."""

    def boxes(annotation: Mapping[str, Sequence[float]], size: Size) -> Iterator[np.ndarray]:
        if "keypoints" not in annotation:
            x, y, width, height = annotation["bbox"]
            yield covered(upright_box(np.array([[x, y], [x + width, y + height]])), size)

    return _coco(files["result.json"], pictures, boxes)


def coco_outlines(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """COCO's segmentations as outlines, in pixels."""
    return _coco(files["result.json"], pictures, _segmentations(shift=0))


def coco_contours(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """COCO's segmentations of painted masks, whose outlines go through the centres of pixels."""
    return _coco(files["result_coco.json"], pictures, _segmentations(shift=0.5))


def _segmentations(*, shift: float) -> Callable[[Mapping[str, Sequence[Sequence[float]]], Size], Iterator[np.ndarray]]:
    def masks(annotation: Mapping[str, Sequence[Sequence[float]]], size: Size) -> Iterator[np.ndarray]:
        (outline,) = annotation["segmentation"]
        yield covered(np.array(outline).reshape(-1, 2) + shift, size)

    return masks


def _coco(content: bytes, pictures: Pictures, masks: Callable[..., Iterator[np.ndarray]]) -> dict[str, Drawing]:
    data = json.loads(content)
    labels = {category["id"]: category["name"] for category in data["categories"]}
    stems = {image["id"]: _picture(image["file_name"]) for image in data["images"]}
    by_stem = {PurePosixPath(picture).stem: picture for picture in pictures}
    drawings = {picture: Drawing() for picture in pictures}
    for annotation in data["annotations"]:
        picture = by_stem[stems[annotation["image_id"]]]
        for mask in masks(annotation, pictures[picture].size):
            drawings[picture].shapes.append(Shape(label=labels[annotation["category_id"]], mask=mask))
    return drawings


def brush_pictures(files: Files, pictures: Pictures) -> dict[str, Drawing]:
    """A black picture with a white mask for each region; the file's name has the task's number and the label."""
    by_task = {picture.task: name for name, picture in pictures.items()}
    drawings = {name: Drawing() for name in pictures}
    for path, content in files.items():
        # task-1-annotation-2-by-3-<control>-<label>-<number>.png
        _, task, *_, label, _ = path.split("-")
        mask = np.array(Image.open(io.BytesIO(content))) > 127
        drawings[by_task[int(task)]].shapes.append(Shape(label=label, mask=mask))
    return drawings


def _picture(path: str) -> str:
    """The name of the picture that a file is about, without its suffix and what Label Studio puts before it."""
    return PurePosixPath(path).stem[9:]
