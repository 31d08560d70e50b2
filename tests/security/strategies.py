"""Labeling configs and task data as nobody would write them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.xml"))

TAGS = (
    *("RectangleLabels", "Rectangle", "PolygonLabels", "Polygon", "BrushLabels", "Brush", "KeyPointLabels", "KeyPoint"),
    *("EllipseLabels", "Ellipse", "Choices", "Taxonomy", "VideoRectangle", "TimelineLabels", "Labels", "TextArea"),
    *("Image", "Video", "Text", "View", "Label", "Choice", "Header", "Style", "Relations", "Filter", "Repeater"),
)
ATTRIBUTES = (
    *("name", "toName", "value", "valueList", "alias", "model_path", "model_score_threshold", "score_threshold"),
    *("model_skip", "model_obb", "model_iou", "model_max_det", "model_imgsz", "model_conf", "model_tracker"),
    *(
        "botsort_track_buffer",
        "bytetrack_track_thresh",
        "model_point_threshold",
        "model_add_bboxes",
        "model_point_size",
    ),
    *("model_index", "model_trainable", "model_classifier_epochs", "predicted_values", "choice", "smart", "perRegion"),
    *("allowNested", "perItem", "frameRate", "on", "apiUrl", "ValueList"),
    *("visibleWhen", "whenTagName", "background", "hotkey", "maxUsages", "required", "xmlns", "xml:lang"),
)
VALUES = (
    *(
        "image",
        "label",
        "$image",
        "$",
        "$$image",
        "$image.url",
        "$image[0].url",
        "/data/local-files/?d=$image",
        "${image}",
        "$[",
        "$image" * 20,
        "true",
        "false",
        "TRUE",
        "1",
        "0",
        "-1",
        "0.5",
        "1e400",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "0x10",
        "٣",
        "999999999999999999999",
        "1,2",
        "qr_code",
        "barcode",
        "qr_code,barcode",
        "'qr_code, small', \"barcode\"",
        "qr_code\\\\, barcode\\\\",
        "'",
        ",,,",
    ),
    *("demo-detect.pt", "demo-segment.pt", "demo-pose.pt", "demo-obb.pt", "demo-classify.pt", "gone.pt", "demo-detect"),
    *(
        "../demo-detect.pt",
        "/etc/passwd",
        "http://127.0.0.1/a.pt",
        "file:///etc/passwd",
        "a\x00b",
        "",
        " ",
        "\t",
        "é",
        "\u202e",
    ),
    *("botsort.yaml", "bytetrack.yaml", "single", "multiple", "single-radio", "x" * 5000),
)
LETTERS = st.characters(categories=("Lu", "Ll"), max_codepoint=127)
PUT = ("&", "<", ">", '"', "&#0;", "&#x110000;", "]]>", "<![CDATA[", "\x00")
XML_CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))


@st.composite
def _elements(draw: st.DrawFn, depth: int = 3) -> str:
    tag = draw(st.sampled_from(TAGS) | st.text(LETTERS, min_size=1, max_size=8))
    values = st.sampled_from(VALUES) | st.text(XML_CHARACTERS, max_size=20)
    attributes = draw(st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=7))
    # Most know each other, so that they are looked at at all.
    if draw(st.booleans()):
        attributes["name"] = draw(st.sampled_from(("image", "label", "video")))
    if tag not in ("Image", "Video", "Label", "Choice") and draw(st.booleans()):
        attributes["toName"] = draw(st.sampled_from(("image", "video", "label", "image,video")))
    inside = (
        "".join(draw(st.lists(_elements(depth - 1), max_size=3)))
        if depth
        else draw(st.sampled_from(("", "text", "<!-- -->")))
    )
    return f"<{tag} {' '.join(f'{name}={quoteattr(value)}' for name, value in attributes.items())}>{inside}</{tag}>"


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """Return an example with a part of it taken out, doubled, or replaced."""
    text = draw(st.sampled_from(EXAMPLES)).read_text(encoding="utf-8")
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        put = draw(st.sampled_from(("", text[start:end] * 2, *PUT)))
        text = text[:start] + put + text[end:]
    return text


def labeling_configs() -> st.SearchStrategy[str]:
    """Make labeling configs: examples, examples that are damaged, and what only the grammar of XML holds together."""
    examples = st.sampled_from(EXAMPLES).map(lambda path: path.read_text(encoding="utf-8"))
    elements = st.lists(_elements(), max_size=4).map(lambda inside: f"<View>{''.join(inside)}</View>")
    return st.one_of(examples, _damaged(), elements)


def _picture(mode: str, size: tuple[int, int], format_: str) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, format_)
    return data.getvalue()


def _photo() -> bytes:
    """A picture in which the demo weights find something, at the size that they look at."""
    data = io.BytesIO()
    with Image.open(ROOT / "examples" / "images" / "photo-01.jpg") as photo:
        photo.resize((320, 320 * photo.height // photo.width)).save(data, "JPEG")
    return data.getvalue()


PHOTO = _photo()
PICTURES = (
    PHOTO,
    _picture("RGB", (64, 48), "JPEG"),
    _picture("L", (1, 1), "PNG"),
    _picture("RGBA", (1, 300), "PNG"),
    _picture("1", (7, 7), "BMP"),
    _picture("P", (30, 30), "GIF"),
    _picture("CMYK", (16, 16), "JPEG"),
    _picture("I;16", (9, 9), "PNG"),
    _picture("RGB", (20, 20), "TIFF"),
    _picture("RGB", (20, 20), "WEBP"),
)


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """Make files of pictures, some with bytes changed or cut off."""
    data = bytearray(draw(st.sampled_from(PICTURES)))
    if draw(st.booleans()):
        return bytes(data)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.none() | st.integers(0, len(data)))])


ADDRESSES = (
    *(
        "http://127.0.0.1:1/a.jpg",
        "http://0/a.jpg",
        "http://2130706433:1/a.jpg",
        "http://[::1]:1/a.jpg",
        "http://[",
        "http://",
    ),
    *("http://user:pass@127.0.0.1:1/", "http://127.0.0.1:99999/", "https://169.254.169.254/latest", "//host/a.jpg"),
    *(
        "/data/upload/1/a.jpg",
        "/data/local-files/?d=../../etc/passwd",
        "/data/local-files/?d=%00",
        "/",
        "?",
        "#",
        "/tasks/1",
    ),
    *(
        "file:///etc/passwd",
        "s3://bucket/a.jpg",
        "gs://",
        "azure-blob://a/b",
        "ftp://127.0.0.1/a",
        "C:\\a.jpg",
        "javascript:1",
    ),
    *(
        "data:",
        "data:,",
        "data:image/png;base64,",
        "data:image/png;base64,AAAA",
        "data:image/svg+xml,<svg/>",
        "data:;base64,!",
    ),
)


def inline_pictures() -> st.SearchStrategy[str]:
    """Make pictures as task data holds them."""
    return pictures().map(lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}")


def media() -> st.SearchStrategy[object]:
    """Make what a task's data may hold where a picture or a video is expected."""
    address = st.sampled_from(ADDRESSES) | st.text(max_size=50)
    one = inline_pictures() | address | st.none() | st.floats() | st.integers() | st.booleans()
    return one | st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3)


def predict_requests() -> st.SearchStrategy[dict[str, object]]:
    """Make bodies for ``/predict`` whose tasks have something where their labeling config looks for it."""
    # Not "|", of which hypothesis would take each part of `media` as often as a picture.
    shown = st.integers(0, 3).flatmap(lambda number: inline_pictures() if number else media())
    data = st.fixed_dictionaries({"image": shown, "video": shown})
    tasks = st.lists(st.fixed_dictionaries({"id": st.integers(), "data": data}), min_size=1, max_size=4)
    return st.fixed_dictionaries({"tasks": tasks, "label_config": labeling_configs()})
