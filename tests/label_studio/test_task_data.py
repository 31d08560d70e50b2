"""What a ``value`` shows, as the editor reads it; ``tests/e2e/test_values.py`` asks the editor itself."""

from typing import Any

import pytest

from yolo_backend.errors import AbsentMediaError, MediaError
from yolo_backend.label_studio.labeling_config import parse_labeling_config
from yolo_backend.label_studio.task_data import MAX_VARIABLES, Source, parse_value, source_values

DATA: dict[str, Any] = {
    "image": "a.jpg",
    "photo": {"url": "b.jpg", "sizes": [{"url": "c.jpg"}, {"url": "d.jpg"}]},
    "photo.url": "dotted.jpg",
    "list": ["e.jpg", "f.jpg"],
    "{id}": "braces.jpg",
    "file": "g h.jpg",
    "number": 7,
    "fraction": 1.5,
    "whole": 2.0,
    "yes": True,
    "nothing": None,
    "empty": "",
    "object": {},
    "nested": [["x"]],
    "größe": "h.jpg",
}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        # One variable gives what is there, of any type.
        ("$image", "a.jpg"),
        ("$photo.url", "dotted.jpg"),
        ("$photo.sizes[1].url", "d.jpg"),
        ("$photo.sizes.0.url", "c.jpg"),
        ("$photo[sizes][0][url]", "c.jpg"),
        ("$list", ["e.jpg", "f.jpg"]),
        ("$list[1]", "f.jpg"),
        ("$list.length", 2),
        ("$image[0]", "a"),
        ("${id}", "braces.jpg"),
        ("$image.", "a.jpg"),
        ("$nothing", None),
        ("$number", 7),
        # Text around variables.
        ("https://host/dir/$file", "https://host/dir/g h.jpg"),
        ("/data/local-files/?d=$file", "/data/local-files/?d=g h.jpg"),
        ("s3://bucket/$photo.sizes[0].url", "s3://bucket/c.jpg"),
        ("$photo.sizes[0].url?size=$number", "c.jpg?size=7"),
        ("/$number/$fraction/$whole/$yes", "/7/1.5/2/true"),
        ("/data/$list", "/data/e.jpg,f.jpg"),
        ("/data/$empty", "/data/"),
        (" $image ", " a.jpg "),
        ("$$image", "$a.jpg"),
        # No variable at all.
        ("https://host/fixed.jpg", "https://host/fixed.jpg"),
        ("costs 5 $", "costs 5 $"),
        ("", ""),
    ],
)
def test_a_value_shows_what_the_editor_makes_of_it(value: str, shown: object) -> None:
    assert parse_value(value, DATA) == shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("$images", "no 'images', which the labeling config shows"),
        ("$photo.name", r"no 'photo\.name'"),
        ("$list[2]", r"no 'list\[2\]'"),
        ("$nothing.url", r"no 'nothing\.url'"),
        # The editor knows ASCII letters only, and takes a dot for a part of the path.
        ("$größe", "no 'gr'"),
        ("https://host/$file.jpg", r"no 'file\.jpg'"),
        ("https://host/$images", "no 'images'"),
        ("https://host/$nothing", r"nothing in \$nothing"),
    ],
)
def test_what_is_not_there_is_named(value: str, words: str) -> None:
    with pytest.raises(AbsentMediaError, match=words):
        parse_value(value, DATA)


@pytest.mark.parametrize("value", ["https://host/$object", "https://host/$nested"])
def test_what_is_no_text_is_not_put_into_an_address(value: str) -> None:
    with pytest.raises(MediaError, match="no text in"):
        parse_value(value, DATA)


def test_an_address_of_very_many_variables_is_refused() -> None:
    data = {"a": "x" * 1000}
    assert len(parse_value("$a/" * MAX_VARIABLES, data)) == 1001 * MAX_VARIABLES
    with pytest.raises(MediaError, match=f"more than {MAX_VARIABLES} variables"):
        parse_value("$a/" * (MAX_VARIABLES + 1), data)


@pytest.mark.parametrize("data", [None, [], {}, "text", {"images": "a.jpg"}])
def test_a_task_of_any_shape(data: object) -> None:
    with pytest.raises(AbsentMediaError, match="no 'image', which the labeling config shows"):
        source_values({"data": data}, Source(value="$image"))
    with pytest.raises(AbsentMediaError, match="no 'image'"):
        source_values({}, Source(value="/d/$image"))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (Source(value="$list", pages=True), ["e.jpg", "f.jpg"]),
        (Source(value="$photo.sizes[0].url", pages=True), ["c.jpg"]),
        (Source(value="/d/$image", pages=True), ["/d/a.jpg"]),
        (Source(value="$nothing", pages=True), [None]),
        (Source(value="$list"), ["e.jpg"]),
        (Source(value="/d/$file"), ["/d/g h.jpg"]),
    ],
)
def test_pages(source: Source, shown: list[object]) -> None:
    assert source_values({"data": DATA}, source) == shown


def test_an_empty_list_of_pages_is_named() -> None:
    with pytest.raises(AbsentMediaError, match="'pages' is an empty list"):
        source_values({"data": {"pages": []}}, Source(value="$pages", pages=True))


@pytest.mark.parametrize(
    ("tag", "source"),
    [
        ('<Image name="i" value="$a"/>', Source(value="$a")),
        ('<Image name="i" Value="$a"/>', Source(value="$a")),
        ('<Image name="i" valueList="$a"/>', Source(value="$a", pages=True)),
        ('<Image name="i" valuelist="$a"/>', Source(value="$a", pages=True)),
        ('<Image name="i" value="$a" valueList="$b"/>', Source(value="$b", pages=True)),
        ('<Image name="i">$a</Image>', Source(value="$a")),
        ('<Image name="i" value="$b"> $a </Image>', Source(value="$a")),
        ('<Video name="i" value="/d/$a"/>', Source(value="/d/$a")),
        # Pages are for images: the editor passes over it.
        ('<Video name="i" value="$a" valueList="$b"/>', Source(value="$a")),
        ('<Video name="i" valueList="$b"/>', Source(value="")),
    ],
)
def test_where_a_tag_says_what_it_shows(tag: str, source: Source) -> None:
    assert parse_labeling_config(f"<View>{tag}</View>").objects["i"].source == source
