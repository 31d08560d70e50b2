"""Every tag on an image, with the bundled weights, for what is rare: odd sizes, odd labels, very many of something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image

from yolo_backend.controls import ImageControl
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings

EXAMPLES = {
    path.stem: path.read_text()
    for path in sorted((PROJECT_DIR / "examples").glob("*.xml"))
    if all(isinstance(control, ImageControl) for control in make_plan(path.read_text(), Settings()).controls)
}
PHOTOS = PROJECT_DIR / "examples" / "images"
NOWHERE = LabelStudio(url=None)
PERCENT = ("x", "y", "width", "height", "radiusX", "radiusY")

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def ask(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Ask for the regions of one image of ``folder`` under a labeling config."""
    engine = Engine(Settings(model_dir=tmp_path_factory.mktemp("data"), local_files_document_root=folder))

    def regions(config: str, name: str) -> list[dict[str, Any]]:
        address = f"/data/local-files/?d={name}"
        task = {"id": 1, "data": {"image": address, "pages": [address]}}
        (prediction,) = engine.predict(engine.plan(config), [task], NOWHERE)
        assert prediction is not None, f"{name} failed"
        return prediction.regions

    return regions


def photo(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def points(value: dict[str, Any]) -> list[float]:
    """The numbers of a region that are percent of the image."""
    return [value[key] for key in PERCENT if key in value] + [number for xy in value.get("points", ()) for number in xy]


@pytest.fixture(scope="module", params=["photo-05.jpg", "photo-06.jpg"])
def size(request: pytest.FixtureRequest, folder: Path) -> tuple[int, int]:
    """A landscape and a portrait photo, each as it is and as a camera saves it that was held sideways."""
    upright = photo(request.param)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(folder / "upright.png", compress_level=1)
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif, compress_level=1)
    return upright.size


@pytest.mark.parametrize("example", EXAMPLES)
def test_turned_by_exif_as_if_it_lay_upright(ask: Ask, size: tuple[int, int], example: str) -> None:
    regions = ask(EXAMPLES[example], "upright.png")
    assert ask(EXAMPLES[example], "turned.png") == regions != []
    for region in regions:
        if "original_width" in region:
            assert (region["original_width"], region["original_height"]) == size
        assert all(0 <= number <= 100 for number in points(region["value"]) if "rotation" not in region["value"])


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("blank", [(1, 1), (1, 700), (700, 1), (3, 2000), (640, 480)])
def test_an_image_with_nothing_on_it(ask: Ask, folder: Path, example: str, blank: tuple[int, int]) -> None:
    Image.new("RGB", blank, "white").save(folder / "blank.png")
    # A whole image is always of some class.
    assert {region["type"] for region in ask(EXAMPLES[example], "blank.png")} <= {"choices", "taxonomy"}


@pytest.mark.slow
@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in ("Choices", "Taxonomy")])
def test_three_hundred_objects(ask: Ask, folder: Path, example: str) -> None:
    """A sheet of labels: the same upright QR code in 15 rows of 20."""
    across, down, step = 20, 15, 80
    code = photo("photo-05.jpg").crop((442, 42, 736, 351)).resize((64, 64), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (across * step, down * step), "white")
    for row, column in np.ndindex(down, across):
        sheet.paste(code, (column * step + 8, row * step + 8))
    sheet.save(folder / "sheet.png")
    config = EXAMPLES[example].replace("model_path=", f'model_imgsz="{across * step}" model_path=')
    regions = ask(config, "sheet.png")
    objects = [region for region in regions if "parentID" not in region]
    assert len({region["id"] for region in objects}) >= 295


LABELS = {
    "二维码": "qr_code",
    'Codes, "striped" & <old>': "barcode",
    "  ": "nothing",
}


@pytest.mark.parametrize("tag", ["RectangleLabels", "PolygonLabels", "EllipseLabels", "BrushLabels", "KeyPointLabels"])
def test_labels_come_back_letter_for_letter(ask: Ask, folder: Path, tag: str) -> None:
    weights = {"PolygonLabels": "segment", "BrushLabels": "segment", "KeyPointLabels": "pose"}.get(tag, "detect")
    index = 'model_index="0"' if tag == "KeyPointLabels" else ""
    labels = "".join(
        f'<Label value={quoteattr(label)} predicted_values="{name}" {index}/>' for label, name in LABELS.items()
    )
    photo("photo-01.jpg").save(folder / "both.png")
    config = f"""<View><Image name="das Bild, eins" value="$image"/>
      <{tag} name="标签" toName="das Bild, eins" model_path="demo-{weights}.pt">{labels}</{tag}></View>"""
    regions = ask(config, "both.png")
    assert {(region["from_name"], region["to_name"]) for region in regions} == {("标签", "das Bild, eins")}
    assert {label for region in regions for label in region["value"][tag.lower()]} == set(list(LABELS)[:2])


def test_a_config_of_forty_controls(ask: Ask, folder: Path) -> None:
    photo("photo-01.jpg").save(folder / "both.png")
    kinds = {
        "RectangleLabels": "detect", "EllipseLabels": "obb", "PolygonLabels": "segment", "BrushLabels": "segment",
        "KeyPointLabels": "pose",
    }  # fmt: skip
    tags = [(f"{kind}-{number}", kind, weights) for number in range(8) for kind, weights in kinds.items()]
    config = ""
    for number, (name, kind, weights) in enumerate(tags):
        index = 'model_index="0"' if kind == "KeyPointLabels" else ""
        config += f'''<{kind} name="{name}" toName="image" model_path="demo-{weights}.pt"
          model_score_threshold="0.{number % 8 + 1}"><Label value="qr_code" {index}/></{kind}>'''
    regions = ask(f'<View><Image name="image" value="$image"/>{config}</View>', "both.png")
    assert {region["from_name"] for region in regions} == {name for name, _, _ in tags}
    ids = [region["id"] for region in regions]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("whole", "expected"), [("false", "Neither"), ("true", "QR code")])
def test_a_code_at_the_end_of_a_wide_image(ask: Ask, folder: Path, whole: str, expected: str) -> None:
    wide = Image.new("RGB", (1000, 400), "white")
    wide.paste(photo("photo-05.jpg").crop((442, 42, 736, 351)), (20, 50))
    wide.save(folder / "wide.png")
    config = EXAMPLES["Choices"].replace("<Choices", f'<Choices model_whole_image="{whole}"')
    (region,) = ask(config, "wide.png")
    assert region["value"]["choices"] == [expected]
