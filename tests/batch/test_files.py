"""Local files as tasks, as Label Studio imports them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.alike import alike
from yolo_backend.batch.drawing import colours, draw, drawing_path, refuse_overwriting, save
from yolo_backend.batch.files import FilePredictor, json_list
from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import Picture
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import PROJECT_DIR, Settings

EXAMPLES = PROJECT_DIR / "examples"
PHOTOS = EXAMPLES / "images"
PREFIX = "https://files.example.org/"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_dir=tmp_path / "data")


def config(name: str) -> str:
    return (EXAMPLES / f"{name}.xml").read_text()


def loaded(settings: Settings, xml: str) -> FilePredictor:
    files = FilePredictor(settings, xml)
    files.load()
    return files


def test_files_are_predicted_as_the_service_predicts_them(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "of today").mkdir(parents=True)
    names = ["a.jpg", "of today/b #1.JPG", "of today/c%20.jpg"]
    for name, photo in zip(names, sorted(PHOTOS.glob("*.jpg")), strict=False):
        shutil.copyfile(photo, folder / name)
    (folder / "notes.txt").write_text("not a picture")
    files = loaded(settings, config("RectangleLabels"))
    found = files.find([folder, folder / "a.jpg"])
    assert [path.relative_to(folder).as_posix() for path in found] == names
    done = list(files.predict(found, prefix=PREFIX, root=folder))
    addresses = [f"{PREFIX}{name}" for name in ("a.jpg", "of%20today/b%20%231.JPG", "of%20today/c%2520.jpg")]
    assert [file.task["data"] for file in done] == [{"image": address} for address in addresses]
    assert [file.path for file in done] == found

    engine = Engine(settings.model_copy(update={"local_files_document_root": PHOTOS}))
    tasks = [
        {"id": address, "data": {"image": f"/data/local-files/?d={photo.name}"}}
        for address, photo in zip(addresses, sorted(PHOTOS.glob("*.jpg")), strict=False)
    ]
    expected = engine.predict(engine.plan(config("RectangleLabels")), tasks, LabelStudio(url=None))
    for file, prediction in zip(done, expected, strict=True):
        assert prediction is not None
        assert file.prediction is not None
        assert alike(asdict(file.prediction), asdict(prediction))
        assert file.task["predictions"] == [
            {
                "model_version": prediction.model_version,
                "score": file.prediction.score,
                "result": file.prediction.regions,
            }
        ]


def test_pages_are_lists_of_one(settings: Settings) -> None:
    files = loaded(settings, config("RectangleLabels-pages"))
    (done,) = files.predict([PHOTOS / "photo-03.jpg"], prefix=PREFIX, root=PHOTOS)
    assert done.task["data"] == {"pages": [f"{PREFIX}photo-03.jpg"]}
    assert done.prediction is not None
    assert {region["item_index"] for region in done.prediction.regions} == {0}


def test_a_file_that_fails_is_a_task_all_the_same(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes((PHOTOS / "photo-03.jpg").read_bytes()[:200])
    shutil.copyfile(PHOTOS / "photo-03.jpg", tmp_path / "whole.jpg")
    files = loaded(settings, config("RectangleLabels"))
    cut, whole = files.predict(files.find([tmp_path]), prefix=PREFIX, root=tmp_path)
    assert cut.task == {"data": {"image": f"{PREFIX}cut.jpg"}}
    assert "damaged" in str(cut.reason)
    assert whole.reason is None


def test_what_can_not_be_found(settings: Settings, tmp_path: Path) -> None:
    files = loaded(settings, config("RectangleLabels"))
    with pytest.raises(ConfigError, match="there is no file or directory"):
        files.find([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="no file to predict"):
        files.find([EXAMPLES / "video"])
    with pytest.raises(ConfigError, match="name another --root"):
        list(files.predict([PHOTOS / "photo-03.jpg"], prefix=PREFIX, root=tmp_path))
    clips = FilePredictor(settings, config("VideoRectangle")).find([EXAMPLES])
    assert [path.suffix for path in clips] == [".mp4"] * 2


IMAGE = '<Image name="image" value="$image"/>'
LABELS = '<Label value="QR code" predicted_values="qr_code"/>'


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        pytest.param("<View/>", "nothing in the labeling config can be filled in", id="no tag"),
        pytest.param(
            f'<View>{IMAGE}<Image name="other" value="$other"/>'
            f'<RectangleLabels name="a" toName="image" model_path="demo-detect.pt">{LABELS}</RectangleLabels>'
            f'<RectangleLabels name="b" toName="other" model_path="demo-detect.pt">{LABELS}</RectangleLabels></View>',
            r"several things \(\$image, \$other\)",
            id="two images",
        ),
        pytest.param(
            '<View><Image name="image" value="/always.jpg"/>'
            f'<RectangleLabels name="a" toName="image" model_path="demo-detect.pt">{LABELS}</RectangleLabels></View>',
            "a file can't stand for '/always.jpg'",
            id="no variable",
        ),
        pytest.param(
            '<View><Image name="image" value="/data/$file"/>'
            f'<RectangleLabels name="a" toName="image" model_path="demo-detect.pt">{LABELS}</RectangleLabels></View>',
            r"a file can't stand for '/data/\$file'",
            id="text beside the variable",
        ),
    ],
)
def test_labeling_configs_that_files_do_not_fit(settings: Settings, xml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FilePredictor(settings, xml)


def test_a_list_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    with json_list(path) as items:
        items.append({"a": "é"})
        items.append([1, 2])
        assert not path.exists()
    assert json.loads(path.read_text()) == [{"a": "é"}, [1, 2]]
    with pytest.raises(TypeError), json_list(path) as items:
        items.append({"what JSON can't hold": object()})
    assert json.loads(path.read_text()) == [{"a": "é"}, [1, 2]]
    assert [file.name for file in tmp_path.iterdir()] == ["tasks.json"]
    with json_list(path):
        pass
    assert json.loads(path.read_text()) == []
    with pytest.raises(ConfigError, match="can't be written"), json_list(tmp_path / "nowhere" / "tasks.json"):
        pass


# Pictures

WHITE = Picture(pixels=np.full((200, 400, 3), 255, np.uint8), width=400, height=200)
SIZE = {"original_width": 400, "original_height": 200, "score": 0.75}
BOX = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}


def drawn_at(region: dict[str, object], x: int, y: int) -> tuple[int, ...]:
    pixel = draw(WHITE, [{"id": "a", **SIZE, **region}], {"Code": (255, 0, 0)}).getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize(
    ("region", "inside", "outside"),
    [
        ({"type": "rectanglelabels", "value": BOX | {"rectanglelabels": ["Code"]}}, (200, 125), (200, 160)),
        # Turned by a quarter about its corner, it lies to the left of it.
        ({"type": "rectanglelabels", "value": BOX | {"rotation": 90, "rectanglelabels": ["Code"]}}, (75, 140), (200, 125)),
        ({"type": "labels", "value": BOX | {"labels": ["Code"]}}, (200, 125), (200, 160)),
        (
            {"type": "polygonlabels", "value": {"points": [[0, 50], [100, 50], [50, 100]], "polygonlabels": ["Code"]}},
            (200, 150),
            (20, 180),
        ),
        (
            {
                "type": "ellipselabels",
                "value": {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0, "ellipselabels": ["Code"]},
            },
            (200, 100),
            (110, 60),
        ),
        ({"type": "keypointlabels", "value": {"x": 50, "y": 50, "width": 2, "keypointlabels": ["Code"]}}, (200, 100), (0, 0)),
        ({"type": "choices", "value": {"choices": ["Code"]}}, (3, 3), (200, 100)),
        ({"type": "taxonomy", "value": {"taxonomy": [["Thing", "Code"]]}}, (3, 3), (200, 100)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_regions_are_drawn_where_they_are(
    region: dict[str, object], inside: tuple[int, int], outside: tuple[int, int]
) -> None:
    red, green, blue = drawn_at(region, *inside)
    assert red > 200
    assert green == blue < 255
    assert drawn_at(region, *outside) == (255, 255, 255)


def test_a_shape_without_a_label_is_not_drawn() -> None:
    assert drawn_at({"type": "rectangle", "value": BOX}, 200, 125) == (255, 255, 255)


def test_masks_are_drawn_on_real_pictures(settings: Settings, tmp_path: Path) -> None:
    xml = config("BrushLabels")
    files = loaded(settings, xml)
    (done,) = files.predict([PHOTOS / "photo-03.jpg"], prefix=PREFIX, root=PHOTOS)
    assert done.prediction is not None
    picture = files.picture(done.path)
    before, after = picture.pixels[:, :, ::-1], np.asarray(draw(picture, done.prediction.regions, colours(xml)))
    assert 0.01 < (before != after).any(axis=2).mean() < 0.3
    save(picture, done.prediction.regions, colours(xml), drawing_path(tmp_path / "new", Path("photo.png")))
    with Image.open(tmp_path / "new" / "photo.png.jpg") as saved:
        assert saved.size == (picture.width, picture.height)


def test_no_picture_is_drawn_over(tmp_path: Path) -> None:
    pictures = [tmp_path / "a.jpg", tmp_path / "b.png", tmp_path / "drawn" / "a.jpg"]
    refuse_overwriting(pictures[:2], tmp_path / "drawn", tmp_path)
    for directory, root in (("", tmp_path), ("sub/..", tmp_path), ("drawn", tmp_path)):
        with pytest.raises(ConfigError, match="would overwrite"):
            refuse_overwriting(pictures, tmp_path / directory, root)
    refuse_overwriting(pictures[1:2], tmp_path, tmp_path)  # as b.png.jpg


def test_colours_are_those_of_the_labeling_config() -> None:
    assert colours(config("KeyPointLabels"))["QR code"] == (0xF3, 0x34, 0x17)
    without = colours(
        '<View><Choices name="a" toName="b"><Choice value="A"/><Choice value="B" background="?"/></Choices></View>'
    )
    assert len(set(without.values())) == 2
