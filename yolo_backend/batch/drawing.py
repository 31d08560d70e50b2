"""Draws regions on their picture, in the colours of the labeling config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from yolo_backend.controls.outlines import label_of, shape_of
from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.labeling_config import parse_labeling_config
from yolo_backend.media import Picture
from yolo_backend.tasks import Region

PALETTE = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#f032e6", "#9a6324", "#808000", "#000075")
FILL = 90  # of 255, how much of the colour covers a shape
SMALLEST_TEXT = 12  # pixels

Colour = tuple[int, int, int]


def colours(labeling_config: str) -> dict[str, Colour]:
    """Return the colour of each label: its ``background``, or one of a palette."""
    labels = {label.value: label for tag in parse_labeling_config(labeling_config).controls for label in tag.labels}
    by_label = {}
    for index, (value, label) in enumerate(labels.items()):
        try:
            colour = ImageColor.getrgb(label.attributes.get("background", ""))
        except ValueError:
            colour = ImageColor.getrgb(PALETTE[index % len(PALETTE)])
        by_label[value] = colour[:3]
    return by_label


def draw(picture: Picture, regions: Sequence[Region], by_label: Mapping[str, Colour]) -> Image.Image:
    """Return a picture with its regions.

    Args:
        picture: Of any size; regions are in percent.
        regions: As predicted. A label without a shape, such as a choice, is written into the corner.
        by_label: The colours.
    """
    image = Image.fromarray(np.ascontiguousarray(picture.pixels[:, :, ::-1]))
    side = max(image.size)
    line, font = max(2, side // 400), ImageFont.load_default(max(SMALLEST_TEXT, side // 60))
    brush = ImageDraw.Draw(image, "RGBA")
    corner = 0.0
    for region in regions:
        labels = _labels(region)
        if not labels:
            continue  # a shape whose label is another region of the same id, which is drawn
        colour = by_label.get(labels[-1], ImageColor.getrgb(PALETTE[0])[:3])
        value = region["value"]
        shape = shape_of(region)
        if shape is not None and shape.dtype == bool:
            mask = Image.fromarray(shape.astype(np.uint8) * FILL * 2).resize(image.size)
            image.paste(Image.new("RGB", image.size, colour), mask=mask)
            rows, columns = np.nonzero(shape)
            at = (0.0, 0.0)
            if len(rows):
                height, width = shape.shape
                at = (columns.min() / width * image.width, rows.min() / height * image.height)
        elif shape is not None:
            points = [(x * image.width / 100, y * image.height / 100) for x, y in shape.tolist()]
            brush.polygon(points, fill=(*colour, FILL // 2), outline=(*colour, 255), width=line)
            at = min(points, key=lambda point: point[1])
        elif "x" in value:
            x, y = value["x"] * image.width / 100, value["y"] * image.height / 100
            radius = max(line, value.get("width", 0) * image.width / 200)
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 255), outline="white")
            continue
        else:
            at = (0.0, corner)
            corner += font.getbbox("X")[3] * 1.5
        text = f"{', '.join(labels)} {region['score']:.2f}"
        box = brush.textbbox(at, text, font=font)
        # Inside of the picture, and above the shape if there is room.
        up = min(box[3] - box[1] + 2 * line, at[1]) if shape is not None else 0.0
        left = max(0.0, min(at[0], image.width - (box[2] - box[0])))
        box = brush.textbbox((left, at[1] - up), text, font=font)
        brush.rectangle(box, fill=(*colour, 255))
        brush.text((left, at[1] - up), text, fill="white", font=font)
    return image


def drawing_path(directory: Path, name: Path) -> Path:
    """Return the path of the drawing of the picture ``name``; it ends in .jpg."""
    path = directory / name
    return path if path.suffix.lower() in (".jpg", ".jpeg") else path.with_name(f"{path.name}.jpg")


def refuse_overwriting(pictures: Sequence[Path], directory: Path, root: Path) -> None:
    """Check that no drawing would overwrite a picture.

    Args:
        pictures: Absolute, links resolved.
        directory: Of the drawings, which have the pictures' names in ``root``.
        root: Absolute, links resolved.

    Raises:
        ConfigError: a drawing would.
    """
    originals = frozenset(pictures)
    for path in pictures:
        if (
            path.is_relative_to(root)
            and (target := drawing_path(directory, path.relative_to(root)).resolve()) in originals
        ):
            raise ConfigError(f"drawings in {directory} would overwrite {target}; name another --save-images")


def save(picture: Picture, regions: Sequence[Region], by_label: Mapping[str, Colour], path: Path) -> None:
    """Write a picture with its regions as a JPEG.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(picture, regions, by_label).save(path, quality=90)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from None


def _labels(region: Mapping[str, Any]) -> list[str]:
    """Return the labels of a region, or the last step of each path of a taxonomy."""
    labelled = label_of(region)
    if labelled is not None:
        return list(labelled[-1])
    paths = region["value"].get(region["type"]) or []
    return [str(path[-1]) for path in paths if isinstance(path, list) and path]
