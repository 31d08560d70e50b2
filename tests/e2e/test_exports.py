"""What docs/tags.md says of Label Studio's exports: which formats each tag has, the order of classes, and what gets lost."""

from __future__ import annotations

import json
import math
import re

import pytest

from .examples import PHOTOS, labeling_config
from .installation import REPOSITORY
from .label_studio import LabelStudio
from .truth import IMAGES

# The formats for training; tables and JSON say what the regions say.
FORMATS = ("YOLO", "YOLO_OBB", "COCO", "BRUSH_TO_COCO", "BRUSH_TO_PNG")


def documented() -> dict[str, set[str]]:
    """The formats of each example in the table of the docs."""
    page = (REPOSITORY / "docs" / "tags.md").read_text()
    section = page.partition("## Exports from Label Studio")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \[([\w-]+)\]\(\S+\) \| ([^|]*) \|", section, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", formats)) for name, formats in rows}


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "examples").glob("*.xml")))
def test_the_docs_list_what_is_offered(label_studio: LabelStudio, name: str) -> None:
    project = label_studio.create_project(labeling_config(name))
    assert label_studio.export_formats(project).intersection(FORMATS) == documented()[name]


@pytest.mark.parametrize(
    ("categories", "classes", "numbers"),
    [
        # Without categories: by the alphabet.
        (("", "", ""), ["ant", "cat", "zebra"], ["2", "1", "0"]),
        (("0", "1", "2"), ["zebra", "cat", "ant"], ["0", "1", "2"]),
        # The names are listed as the labels are, whatever their numbers.
        (("2", "0", "1"), ["zebra", "cat", "ant"], ["2", "0", "1"]),
    ],
)
def test_order_of_classes(
    label_studio: LabelStudio, categories: tuple[str, ...], classes: list[str], numbers: list[str]
) -> None:
    names = ("zebra", "cat", "ant")
    labels = "".join(
        f'<Label value="{name}" {f"category={number!r}" if number else ""}/>'
        for name, number in zip(names, categories, strict=True)
    )
    files = _exported(label_studio, labels, [{"rectanglelabels": [name], "rotation": 0} for name in names])
    assert files["classes.txt"].decode().split() == classes
    (rows,) = (text.decode() for path, text in files.items() if path.startswith("labels/"))
    assert [row.split()[0] for row in rows.splitlines()] == numbers


def test_yolo_drops_the_rotation(label_studio: LabelStudio) -> None:
    for degrees in (0, 30):
        files = _exported(label_studio, '<Label value="a"/>', [{"rectanglelabels": ["a"], "rotation": degrees}])
        rows = [text for path, text in files.items() if path.startswith("labels/")]
        assert rows == [b"0 0.3 0.25 0.2 0.1\n"]


def test_coco_has_the_box_around_a_rotated_one_in_percent(label_studio: LabelStudio) -> None:
    turned = [{"rectanglelabels": ["a"], "rotation": 30}]
    files = _exported(label_studio, '<Label value="a"/>', turned, "COCO")
    (annotation,) = json.loads(files["result.json"])["annotations"]
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    # Of an image of 1000 by 800 pixels, as if it were square.
    around = [20 - 10 * sin, 20, 20 * cos + 10 * sin, 20 * sin + 10 * cos]
    assert annotation["bbox"] == pytest.approx([side * size for side, size in zip(around, (10, 8, 10, 8), strict=True)])


def _exported(
    label_studio: LabelStudio, labels: str, values: list[dict[str, object]], format_: str = "YOLO"
) -> dict[str, bytes]:
    """The export of a task with a box of 200 by 80 pixels for each of these values."""
    tag = f'<RectangleLabels name="box" toName="image">{labels}</RectangleLabels>'
    project = label_studio.create_project(f'<View><Image name="image" value="$image"/>{tag}</View>')
    (task,) = label_studio.upload(project, [IMAGES / PHOTOS[0]]).values()
    region = {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "image_rotation": 0}
    size = {"original_width": 1000, "original_height": 800}
    result = [
        {"id": str(number), **region, **size, "value": {"x": 20, "y": 20, "width": 20, "height": 10, **value}}
        for number, value in enumerate(values)
    ]
    label_studio.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})
    return label_studio.export(project, format_)
