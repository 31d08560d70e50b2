import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yolo_backend.inference import Tiling, WeightsStore
from yolo_backend.pipeline.plan import Plan, make_plan
from yolo_backend.settings import BUNDLED_MODELS, PROJECT_DIR, Settings

IMAGE = '<Image name="image" value="$image"/>'
LABELS = '<Label value="QR" predicted_values="qr_code" background="blue"/><Label value="barcode"/>'


def config(*tags: str, shown: str = IMAGE) -> str:
    return f"<View>{shown}{''.join(tags)}</View>"


def rectangles(attributes: str = "", labels: str = LABELS, name: str = "box", to: str = "image") -> str:
    return f'<RectangleLabels name="{name}" toName="{to}" {attributes}>{labels}</RectangleLabels>'


def plan(*tags: str, shown: str = IMAGE, **settings: Any) -> Plan:
    return make_plan(config(*tags, shown=shown), Settings(**settings))


def test_attributes_are_read() -> None:
    attributes = (
        'model_path="demo-detect.pt" score_threshold="0.25" model_iou=" 0.5 " model_max_det="7" model_imgsz="640"'
    )
    (control,) = plan(rectangles(attributes)).controls
    assert control.model_path == "demo-detect.pt"
    assert control.label_thresholds == (0.25, 0.25)
    assert (control.model_iou, control.model_max_det, control.model_imgsz) == (0.5, 7, 640)


def test_defaults_come_from_the_settings() -> None:
    made = plan(rectangles(), model_score_threshold=0.3, default_detect_model="mine.pt")
    assert made.controls[0].label_thresholds == (0.3, 0.3)
    assert made.passes[0].model.weights == "mine.pt"
    assert made.problems == ()


def test_a_threshold_on_a_label_is_for_that_label_and_the_model_is_asked_for_the_lowest() -> None:
    labels = '<Label value="a" model_score_threshold="0.1"/><Label value="b" score_threshold="0.9"/><Label value="c"/>'
    made = plan(rectangles('model_score_threshold="0.4"', labels))
    assert made.controls[0].label_thresholds == (0.1, 0.9, 0.4)
    assert made.passes[0].options.confidence == 0.1


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ('model_score_threshold="high"', "a number from 0 to 1 is expected"),
        ('model_score_threshold="50"', "a number from 0 to 1 is expected"),
        ('model_score_threshold="nan"', "a number from 0 to 1 is expected"),
        ('model_score_threshold=""', "a number from 0 to 1 is expected"),
        ('model_max_det="2.5"', "a whole number from 1 to 10000 is expected"),
        ('model_skip="maybe"', "true or false is expected"),
        ('model_tile="16"', "a whole number from 64 to 8192 is expected"),
        ('model_tile_overlap="1"', "a number from 0 to 0.8 is expected"),
        ('model_treshold="0.5"', "not an attribute of this tag"),
        ('model_score_treshold="0.5"', "did you mean model_score_threshold?"),
    ],
)
def test_an_attribute_that_cannot_be_used_is_named_and_the_default_is_used(attribute: str, words: str) -> None:
    made = plan(rectangles(attribute))
    assert len(made.controls) == 1
    (problem,) = made.problems
    assert '<RectangleLabels name="box">' in problem
    assert words in problem
    assert made.controls == plan(rectangles()).controls


def test_a_tag_marked_to_be_skipped_is_left_to_people() -> None:
    made = plan(rectangles('model_skip="true"', name="a"), rectangles(name="b"))
    assert [control.name for control in made.controls] == ["b"]
    assert made.problems == ()


@pytest.mark.parametrize(
    ("tag", "labels", "words"),
    [
        (
            '<RectangleLabels name="t" toName="image" value="$labels"/>',
            None,
            '<RectangleLabels name="t">: the labels that value="$labels" brings with each task are not filled in',
        ),
        (
            '<RectangleLabels name="t" toName="image" value="$labels"><Label value="a"/></RectangleLabels>',
            ["a"],
            'the labels that value="$labels" brings',
        ),
        (
            '<Labels name="t" toName="image" value="$more"><Label value="a"/></Labels><Polygon name="p" toName="image"/>',
            ["a"],
            '<Labels name="t">: the labels that value="$more" brings',
        ),
        ('<Choices name="t" toName="image" value="$a.b"/>', None, 'the labels that value="$a.b" brings'),
        (
            '<Taxonomy name="t" toName="image" apiUrl="https://host/items"/>',
            None,
            'the labels that apiurl="https://host/items" brings',
        ),
        (
            '<Choices name="t" toName="image"><Choice value="$first"/><Choice value="b"/></Choices>',
            ["b"],
            "<Choices name=\"t\">, label '$first' left out: each task gives it another name",
        ),
        (
            '<Taxonomy name="t" toName="image"><Choice value="$a"><Choice value="b"/></Choice><Choice value="c"/></Taxonomy>',
            ["c"],
            "label 'b' left out: each task gives it another name",
        ),
    ],
)
def test_labels_that_come_with_the_task_are_named(tag: str, labels: list[str] | None, words: str) -> None:
    made = plan(tag)
    assert [[label.value for label in control.labels] for control in made.controls] == (
        [] if labels is None else [labels]
    )
    assert any(words in problem for problem in made.problems)


def test_a_label_that_is_shown_with_the_tasks_data_may_have_an_alias() -> None:
    made = plan('<Choices name="t" toName="image"><Choice value="$shown" alias="a"/></Choices>')
    assert [label.value for label in made.controls[0].labels] == ["a"]
    assert made.problems == ()


def test_what_several_tags_share_is_said_once() -> None:
    labels = (
        '<Labels name="l" toName="image" model_ioo="1"><Label value="a" model_score_threshold="x" predicted_value="b"/>'
    )
    made = plan(f'{labels}</Labels><Rectangle name="r" toName="image"/><Polygon name="p" toName="image"/>')
    assert made.problems == (
        '<Labels name="l">: model_ioo is not an attribute of this tag; did you mean model_iou?',
        "<Labels name=\"l\">, label 'a': model_score_threshold='x' is ignored: a number from 0 to 1 is expected",
        "<Labels name=\"l\">, label 'a': predicted_value is not an attribute of this tag; did you mean predicted_values?",
    )


def test_of_two_tags_of_one_name_the_first_is_filled_in() -> None:
    made = plan(rectangles(), rectangles('model_iou="0.1"'))
    assert made.controls == plan(rectangles()).controls
    assert made.problems == ('<RectangleLabels name="box"> left out: another tag has its name',)


def test_tiles_are_part_of_what_is_asked() -> None:
    made = plan(
        rectangles('model_tile="640"', name="1"),
        rectangles('model_tile="640" model_tile_overlap="0.2"', name="2"),
        rectangles('model_tile="640" model_tile_overlap="0.5"', name="3"),
        rectangles('model_tile_overlap="0.5"', name="4"),
        rectangles(name="5"),
    )
    assert made.problems == ()
    assert [(one.options.tiling, [c.name for c in one.controls]) for one in made.passes] == [
        (Tiling(640, 0.2), ["1", "2"]),
        (Tiling(640, 0.5), ["3"]),
        (None, ["4", "5"]),
    ]


def test_tiles_do_not_say_what_a_whole_image_is() -> None:
    made = plan('<Choices name="c" toName="image" model_tile="640"><Choice value="a"/></Choices>')
    assert made.passes[0].options.tiling is None
    assert "model_tile is ignored, since a tile doesn't say what the whole image is" in made.problems[0]


def test_controls_that_ask_the_same_share_a_pass() -> None:
    shown = '<Image name="a" value="$a"/><Image name="b" value="$b"/>'
    made = plan(
        rectangles(name="1", to="a"),
        rectangles('model_score_threshold="0.1"', name="2", to="a"),
        rectangles(name="3", to="b"),
        rectangles('model_path="other.pt"', name="4", to="a"),
        shown=shown,
    )
    shared = [
        (step.model.weights, step.source.value, step.options.confidence, [c.name for c in step.controls])
        for step in made.passes
    ]
    assert shared == [
        ("yolo26n.pt", "$a", 0.1, ["1", "2"]),
        ("yolo26n.pt", "$b", 0.5, ["3"]),
        ("other.pt", "$a", 0.5, ["4"]),
    ]


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", "empty"),
        ("<View", "not well-formed"),
        ("<View/>", "no tag that a YOLO model can fill in"),
        (config('<TextArea name="t" toName="image"/>'), "no tag that a YOLO model can fill in"),
        ('<View><RectangleLabels name="a"><Label value="b"/></RectangleLabels></View>', "with a name and a toName"),
        (config(rectangles(to="picture")), 'toName="picture" names no tag that shows data; the names of those: image'),
        (config(rectangles(to="t"), shown='<Text name="t" value="$t"/>'), "is on <Text>"),
        (config(rectangles(), shown='<Image name="image" value=""/>'), '<Image name="image"> shows nothing'),
        (
            f'<View><Repeater on="$photos">{IMAGE}{rectangles()}</Repeater></View>',
            '<RectangleLabels name="box"> left out: it is in a <Repeater on="$photos">',
        ),
    ],
)
def test_a_config_without_work_for_us_says_why(xml: str, words: str) -> None:
    made = make_plan(xml, Settings())
    assert made.controls == made.passes == ()
    assert len(made.problems) == 1
    assert words in made.problems[0]


def test_model_path_can_be_kept_to_the_operator() -> None:
    made = plan(rectangles('model_path="demo-detect.pt"'), allow_custom_model_path=False)
    assert made.passes[0].model.weights == "yolo26n.pt"
    assert "ALLOW_CUSTOM_MODEL_PATH" in made.problems[0]


class TestModelVersion:
    def version(self, *tags: str, **settings: Any) -> str:
        weights = WeightsStore(Settings(**settings))
        return plan(*tags, **settings).model_version(weights)

    def test_it_names_the_weights_and_stays_the_same(self) -> None:
        tag = rectangles('model_path="demo-detect.pt"')
        version = self.version(tag)
        assert version.startswith("demo-detect-")
        assert version == self.version(tag)

    def test_colours_and_layout_do_not_change_it(self) -> None:
        version = self.version(rectangles())
        assert version == self.version(rectangles(labels=LABELS.replace("blue", "red")))
        assert version == self.version("<Header value='Hello'/>", rectangles('choice="multiple" opacity="0.3"'))

    @pytest.mark.parametrize(
        "tag",
        [
            rectangles('model_score_threshold="0.4"'),
            rectangles('model_iou="0.4"'),
            rectangles('model_tile="640"'),
            rectangles('model_path="demo-detect.pt"'),
            rectangles(labels='<Label value="QR" predicted_values="qr_code"/>'),
            rectangles(labels=LABELS.replace("qr_code", "qr")),
            rectangles(labels=LABELS.replace('"barcode"', '"barcode" model_score_threshold="0.3"')),
            rectangles(name="other"),
        ],
    )
    def test_what_changes_an_answer_changes_it(self, tag: str) -> None:
        assert self.version(tag) != self.version(rectangles())

    @pytest.mark.slow
    def test_it_is_the_same_in_every_process(self) -> None:
        program = """if True:
            from yolo_backend.inference import Tiling, WeightsStore
            from yolo_backend.pipeline.plan import make_plan
            from yolo_backend.settings import PROJECT_DIR, Settings
            for path in sorted((PROJECT_DIR / "examples").glob("*.xml")):
                print(make_plan(path.read_text(), Settings()).model_version(WeightsStore(Settings())))
        """
        said = {
            subprocess.run(
                [sys.executable, "-c", program],
                env=os.environ | {"PYTHONHASHSEED": seed},
                cwd=PROJECT_DIR,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in "123"
        }
        (versions,) = said
        assert len(versions.split()) == len(list((PROJECT_DIR / "examples").glob("*.xml")))

    def test_a_setting_that_changes_answers_changes_it(self) -> None:
        assert self.version(rectangles()) != self.version(rectangles(), model_score_threshold=0.3)

    def test_other_weights_under_the_same_name_change_it(self, tmp_path: Path) -> None:
        tag = rectangles('model_path="mine.pt"')
        missing = self.version(tag, model_root=tmp_path)
        (tmp_path / "mine.pt").write_bytes((BUNDLED_MODELS / "demo-detect.pt").read_bytes())
        first = self.version(tag, model_root=tmp_path)
        (tmp_path / "mine.pt").write_bytes(b"other")
        second = self.version(tag, model_root=tmp_path)
        assert len({missing, first, second}) == 3
        assert all(version.startswith("mine-") for version in (missing, first, second))

    def test_there_is_one_without_any_model(self) -> None:
        assert self.version().startswith("no-model-")
