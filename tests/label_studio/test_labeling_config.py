import pytest

from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.labeling_config import parse_labeling_config


def test_controls_objects_and_labels_are_read() -> None:
    config = parse_labeling_config(
        """<View>
          <Header value="Codes"/>
          <View style="display: flex">
            <Image name="image" value="$image" zoom="true"/>
            <RectangleLabels name="codes" toName="image">
              <Label value="Square code" predicted_values=" qr_code ,  aztec "/>
              <View><Label value="barcode"/></View>
              <Label value="其他" alias="other" background="#fff"/>
              <Label value="nothing" predicted_values=""/>
              <Label/>
            </RectangleLabels>
          </View>
          <Choices name="kind" toName="image"><Choice value="a, b &quot;c&quot;"/></Choices>
        </View>"""
    )
    rectangles, choices = config.controls
    assert (rectangles.tag, rectangles.name, rectangles.to_name) == ("RectangleLabels", "codes", "image")
    assert [(label.value, label.names) for label in rectangles.labels] == [
        ("Square code", ("qr_code", "aztec")),
        ("barcode", ("barcode",)),
        ("other", ("其他",)),
        ("nothing", ()),
    ]
    assert [(label.value, label.names) for label in choices.labels] == [('a, b "c"', ('a, b "c"',))]
    assert {name: (shown.tag, shown.source.value) for name, shown in config.objects.items()} == {
        "image": ("Image", "$image")
    }


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("<View>", "not well-formed"),
        ("<View></Wiew>", "not well-formed"),
        ("just text", "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "DOCTYPE"),
        ("<View>\x00</View>", "not well-formed"),
        (f'<View><R name="r" toName="i">{"<View>" * 3000}{"</View>" * 3000}</R></View>', "nested too deeply"),
    ],
)
def test_what_is_no_labeling_config_is_refused(xml: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_labeling_config(xml)


def test_comments_and_space_around_do_no_harm() -> None:
    config = parse_labeling_config(
        '\n<?xml version="1.0"?><!-- <!DOCTYPE x> --><View><Image name="i" value="$i"/></View>\n'
    )
    assert list(config.objects) == ["i"]


def test_a_view_without_tags_is_empty() -> None:
    config = parse_labeling_config("<View/>")
    assert config.controls == ()
    assert dict(config.objects) == {}
