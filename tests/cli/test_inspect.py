"""What weights are there, labeling configs made for them, and labeling configs explained."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from yolo_backend.cli import inspect as module
from yolo_backend.cli.inspect import available_weights, config_for, explain
from yolo_backend.controls.classes import match_classes
from yolo_backend.errors import ConfigError, WeightsError
from yolo_backend.inference.library import ultralytics
from yolo_backend.inference.postprocess import ModelMetadata
from yolo_backend.label_studio.labeling_config import parse_labeling_config
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR, Settings

EXAMPLES = sorted((PROJECT_DIR / "examples").glob("*.xml"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model_dir=tmp_path / "data", model_root=tmp_path)


def test_weights_are_listed_with_what_they_are_for(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    found = {one.name: one for one in available_weights(settings)}
    bundled = {
        name.removesuffix(".pt").removeprefix("demo-"): one for name, one in found.items() if name != "broken.pt"
    }
    assert {kind: one.task for kind, one in bundled.items()} == {
        kind: kind for kind in ("classify", "detect", "obb", "pose", "segment")
    }
    assert bundled["detect"].classes == ("qr_code", "barcode")
    assert all(len(one.sha256) == 64 and one.megabytes > 0.5 for one in bundled.values())
    assert found["broken.pt"].task == ""
    assert "can't be loaded" in found["broken.pt"].problem


@pytest.mark.parametrize(
    ("weights", "tag"),
    [
        *((f"demo-{task}.pt", None) for task in ("detect", "segment", "pose", "obb", "classify")),
        ("demo-detect.pt", "EllipseLabels"),
        ("demo-detect.pt", "VideoRectangle"),
        ("demo-segment.pt", "BrushLabels"),
        ("demo-segment.pt", "RectangleLabels"),
        ("demo-classify.pt", "Taxonomy"),
        ("demo-classify.pt", "TimelineLabels"),
    ],
)
def test_a_labeling_config_for_weights_uses_all_their_classes(
    settings: Settings, weights: str, tag: str | None
) -> None:
    xml = config_for(settings, weights, tag)
    said = list(explain(settings, xml))
    assert [line for line, is_problem in said if is_problem] == []
    text = "\n".join(line for line, _ in said)
    assert f"filled in from {weights}" in text
    assert tag is None or f"<{tag} " in text
    if weights != "demo-pose.pt":
        assert "qr_code: qr_code" in text
        assert "barcode: barcode" in text
    assert "nothing" not in text


def config_of(names: dict[int, str], settings: Settings) -> str:
    metadata = ModelMetadata(task="detect", names=names, end_to_end=False)
    loaded = type("Loaded", (), {"metadata": metadata})
    with mock.patch.object(module, "load_backend", return_value=loaded):
        return config_for(settings, "demo-detect.pt")


def test_class_names_of_any_kind(settings: Settings) -> None:
    names = {0: 'a "b" <c> & d', 1: "e, f", 2: "", 3: "g", 4: "g", 5: " g", 6: "\x00h", 7: "$5 bill"}
    (control,) = parse_labeling_config(config_of(names, settings)).controls
    assert [(label.value, label.names) for label in control.labels] == [
        ('a "b" <c> & d', ('a "b" <c> & d',)),
        ("e, f", ("e, f",)),
        ("no name", ("",)),
        ("g", ("g",)),
        ("h", ("h",)),
        ("＄5 bill", ("$5 bill",)),
    ]


@limits(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("aA ,'\"\\\n$é\u0301\x00\u200b\ud800") | st.characters(), max_size=6), max_size=6)
)
def test_whatever_classes_are_called_each_has_a_label_in_our_own_config(classes: list[str]) -> None:
    names = dict(enumerate(classes))
    tags = parse_labeling_config(config_of(names, Settings())).controls
    labels = [label for tag in tags for label in tag.labels]
    matched = match_classes(labels, [0.5] * len(labels), names, owner="tag")
    assert None not in matched.labels
    assert matched.problems == ()


@pytest.mark.parametrize(
    "names", [(" qr_code", "bar\u0301code "), ("code, square", "it's a 'code', long"), ("$a", "\ufeff")]
)
def test_our_own_config_for_weights_of_odd_classes_has_no_problems(
    settings: Settings, tmp_path: Path, names: tuple[str, ...]
) -> None:
    model = ultralytics().YOLO(BUNDLED_MODELS / "demo-detect.pt")
    model.model.names = dict(enumerate(names))
    model.save(tmp_path / "odd.pt")
    said = list(explain(settings, config_for(settings, "odd.pt")))
    assert [line for line, is_problem in said if is_problem] == []
    assert sum("from a score of" in line for line, _ in said) == len(names)


def test_what_no_labeling_config_can_be_made_of(settings: Settings) -> None:
    with pytest.raises(
        ConfigError, match="is for classify, which fills in Choices, Taxonomy, TimelineLabels, not Polygon"
    ):
        config_for(settings, "demo-classify.pt", "PolygonLabels")
    with pytest.raises(WeightsError, match=r"Did you mean demo-detect\.pt"):
        config_for(settings, "demo-detct.pt")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_have_no_problems(settings: Settings, path: Path) -> None:
    said = list(explain(settings, path.read_text()))
    assert [line for line, is_problem in said if is_problem] == []
    assert any("filled in from demo-" in line for line, _ in said)


def test_the_labels_beside_a_shape_are_explained_with_it(settings: Settings) -> None:
    for name in ("Rectangle", "VideoRectangle"):
        text = "\n".join(line for line, _ in explain(settings, (PROJECT_DIR / "examples" / f"{name}.xml").read_text()))
        assert f'filled in together with <{name} name="box">' in text
        assert "left to people" not in text


def test_each_tag_is_explained(settings: Settings) -> None:
    xml = """
    <View>
      <Image name="image" value="$image"/>
      <RectangleLabels name="box" toName="image" model_path="demo-detect.pt" model_score_threshold="0.3" model_colour="1">
        <Label value="QRCode"/><Label value="Barcode" model_score_threshold="0.7"/>
      </RectangleLabels>
      <PolygonLabels name="outline" toName="image" model_path="demo-detect.pt"><Label value="barcode"/></PolygonLabels>
      <BrushLabels name="mask" toName="image" model_path="missing.pt"><Label value="barcode"/></BrushLabels>
      <TextArea name="note" toName="image"/>
    </View>
    """
    said = list(explain(settings, xml))
    assert [line for line, is_problem in said if not is_problem] == [
        '<RectangleLabels name="box"> on <Image> $image: filled in from demo-detect.pt, which are for detect',
        "    QRCode: nothing",
        "    Barcode: barcode, from a score of 0.7",
        '<PolygonLabels name="outline"> on <Image> $image: nothing',
        '<BrushLabels name="mask"> on <Image> $image: nothing, its weights can\'t be used',
        '<TextArea name="note"> on <Image> $image: left to people',
    ]
    problems = "\n".join(line for line, is_problem in said if is_problem)
    for words in ("no class 'QRCode'", "nearest: qr_code", "needs weights for segment", "missing.pt", "model_colour"):
        assert words in problems


def test_a_labeling_config_that_can_not_be_read(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="not well-formed"):
        list(explain(settings, "<View>"))
