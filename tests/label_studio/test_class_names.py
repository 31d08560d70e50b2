"""Names of classes in ``predicted_values``: whatever weights hold can be written there, and is found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_backend.label_studio.class_names import folded, quote_name, spellings, split_names, visible


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("", []),
        (" , ,", []),
        ("car", ["car"]),
        (" car ,  traffic light", ["car", "traffic light"]),
        # With a comma: in quotes, or with a backslash before it.
        ('"red, round", blue', ["red, round", "blue"]),
        ("'red, round', blue", ["red, round", "blue"]),
        (r"red\, round, blue", ["red, round", "blue"]),
        ("blue,'red, round'", ["blue", "red, round"]),
        # Quotes inside of a name, or that don't go around the whole of it, are part of it.
        ("carpenter's_kit, jack-o'-lantern", ["carpenter's_kit", "jack-o'-lantern"]),
        ("'n Sync, 19\" rack", ["'n Sync", '19" rack']),
        ('"a" b, c', ['"a" b', "c"]),
        (r"'jack-o\'-lantern, lit'", ["jack-o'-lantern, lit"]),
        (r"\'quoted\'", ["'quoted'"]),
        (r'"\"a\", b"', ['"a", b']),
        # So is a backslash, unless something is after it that it takes as it is.
        (r"C:\dir, b", [r"C:\dir", "b"]),
        (r"a\\, b", ["a\\", "b"]),
        # Blanks count in quotes, and so does nothing.
        ("' car ', ''", [" car ", ""]),
        ("汽车,卡车", ["汽车", "卡车"]),
    ],
)
def test_names_are_separated_by_commas(listed: str, names: list[str]) -> None:
    assert list(split_names(listed)) == names


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("car", "car"),
        ("traffic light", "traffic light"),
        ("carpenter's_kit", "carpenter's_kit"),
        ("red, round", "'red, round'"),
        ("jack-o'-lantern, lit", '"jack-o\'-lantern, lit"'),
        (" car", "' car'"),
        ("", "''"),
        ("a\\", r"'a\\'"),
    ],
)
def test_a_name_is_quoted_where_it_has_to_be(name: str, quoted: str) -> None:
    assert quote_name(name) == quoted


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab ,'\"\\\n") | st.characters(), max_size=8), max_size=5))
def test_whatever_is_quoted_is_read_back(names: list[str]) -> None:
    assert list(split_names(", ".join(map(quote_name, names)))) == names


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\ud55c", "\u1112\u1161\u11ab"),
        (" QR code", "QR  code\n"),
        ("\ufeffperson", "person"),
        ("\u00a0person", "person"),
        ("a\x00b", "ab"),
    ],
)
def test_names_that_look_the_same_are_the_same(name: str, other: str) -> None:
    assert visible(name) == visible(other)
    assert spellings(name)[1:] == spellings(other)[1:]


@pytest.mark.parametrize(
    ("name", "other"), [("Car", "cAR"), ("Straße", "STRASSE"), ("CAFÉ", "cafe\u0301"), ("ΣΊΣΥΦΟΣ", "σίσυφος")]
)
def test_case_does_not_count_in_the_end(name: str, other: str) -> None:
    assert visible(name) != visible(other)
    assert folded(name) == folded(other)


@pytest.mark.parametrize(("name", "other"), [("car", "cat"), ("red round", "redround"), ("e", "é"), ("", "a")])
def test_other_names_are_others(name: str, other: str) -> None:
    assert folded(name) != folded(other)
