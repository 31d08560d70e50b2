"""The small helpers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from label_studio_ml import utils
from label_studio_ml.utils import InMemoryLRUDictCache
from PIL import Image

IMAGE: dict[str, Any] = {"type": "Image", "value": "image"}
BOXES: dict[str, Any] = {"type": "RectangleLabels", "to_name": ["img"], "inputs": [IMAGE], "labels": ["A", "B"]}
CHOICES: dict[str, Any] = {
    "type": "Choices",
    "to_name": ["txt", "img"],
    "inputs": [{"type": "Text", "value": "text"}, IMAGE],
    "labels": ["C"],
}
PAGES: dict[str, Any] = {
    "type": "RectangleLabels",
    "to_name": ["img"],
    "inputs": [{"type": "Image", "valueList": "pages"}],
    "labels": [],
}


def test_get_single_tag_keys() -> None:
    keys = utils.get_single_tag_keys({"boxes": BOXES}, "RectangleLabels", "Image")
    assert keys == ("boxes", "img", "image", ["A", "B"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "found no control tag"),
        ({"boxes": BOXES, "choices": CHOICES}, "Expected one control tag, <RectangleLabels>, and found .*<Choices"),
        ({"choices": CHOICES}, "found <Choices name='choices'> on txt, img"),
        ({"boxes": BOXES | {"inputs": []}}, "on one <Image>"),
        ({"boxes": BOXES | {"inputs": [{"type": "Video", "value": "v"}]}}, "on one <Image>"),
    ],
    ids=["none", "two", "another", "no object", "another object"],
)
def test_get_single_tag_keys_wants_one(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.get_single_tag_keys(config, "RectangleLabels", "Image")


@pytest.mark.parametrize(
    ("config", "control", "object_", "keys"),
    [
        ({"boxes": BOXES}, "RectangleLabels", "Image", ("boxes", "img", "image")),
        ({"choices": CHOICES, "boxes": BOXES}, "RectangleLabels", "Image", ("boxes", "img", "image")),
        ({"one": BOXES, "two": BOXES}, "RectangleLabels", "Image", ("one", "img", "image")),
        ({"choices": CHOICES}, "Choices", "Image", ("choices", "img", "image")),
        ({"pages": PAGES}, "RectangleLabels", "Image", ("pages", "img", "pages")),
        (
            {"boxes": BOXES | {"inputs": [{"type": "Image"}]}},
            "RectangleLabels",
            "Image",
            ("boxes", "img", "$undefined$"),
        ),
    ],
)
def test_get_first_tag_keys(config: dict[str, Any], control: str, object_: str, keys: tuple[str, ...]) -> None:
    assert utils.get_first_tag_keys(config, control, object_) == keys


@pytest.mark.parametrize(
    "config", [{}, {"choices": CHOICES}, {"boxes": BOXES | {"inputs": []}}], ids=["none", "another", "no object"]
)
def test_get_first_tag_keys_says_what_there_is(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no <RectangleLabels> on <Image>"):
        utils.get_first_tag_keys(config, "RectangleLabels", "Image")


@pytest.mark.parametrize(
    ("task", "skipped"),
    [
        ({}, False),
        ({"annotations": None}, False),
        ({"annotations": []}, False),
        ({"annotations": [{"was_cancelled": True}]}, True),
        ({"annotations": [{"was_cancelled": False}]}, False),
        ({"annotations": [{"skipped": True}]}, True),
        ({"annotations": [{"was_cancelled": True}, {"was_cancelled": False}]}, False),
        ({"annotations": [{"was_cancelled": True}, {"was_cancelled": True}]}, True),
    ],
    ids=str,
)
def test_is_skipped(task: dict[str, Any], skipped: bool) -> None:
    assert utils.is_skipped(task) is skipped


def annotated(*regions: dict[str, Any]) -> dict[str, Any]:
    return {"id": 5, "annotations": [{"result": list(regions)}]}


def test_get_choice() -> None:
    box = {"value": {"rectanglelabels": ["A"]}}
    assert utils.get_choice(annotated({"value": {"choices": ["Yes", "No"]}})) == "Yes"
    assert utils.get_choice(annotated(box, {"value": {"choices": ["No"]}})) == "No"
    nothing: list[dict[str, Any]] = [{}, {"annotations": []}, annotated(), annotated({"value": {"choices": []}})]
    for without in [*nothing, annotated(box)]:
        with pytest.raises(ValueError, match="no annotation with a choice"):
            utils.get_choice(without)


@pytest.mark.parametrize(
    ("labels", "names", "matched"),
    [
        ({}, [], {}),
        ({}, ["cat"], {}),
        ({"Cat": ["cat"]}, [], {}),
        ({"Cat": []}, ["cat"], {}),
        ({"Cat": ["cat"]}, ["cat", "dog"], {"cat": "Cat"}),
        ({"Pet": ["cat", "dog"]}, ["cat", "dog"], {"cat": "Pet", "dog": "Pet"}),
        ({"Pet": [" cat ", "traffic light"]}, ["cat", "traffic light"], {"cat": "Pet", "traffic light": "Pet"}),
        # The keys keep the model's spelling.
        ({"Cat": ["CAT"]}, ["cAt"], {"cAt": "Cat"}),
        ({"Straße": ["STRASSE"]}, ["straße"], {"straße": "Straße"}),
        # A match of the same case goes first, wherever it stands.
        ({"A": ["CAT"], "B": ["cat"]}, ["cat", "Cat"], {"cat": "B", "Cat": "A"}),
        # The earlier label goes first.
        ({"A": ["cat"], "B": ["cat"]}, ["cat"], {"cat": "A"}),
    ],
    ids=str,
)
def test_match_labels(labels: dict[str, list[str]], names: list[str], matched: dict[str, str]) -> None:
    assert utils.match_labels(labels, names) == matched


@pytest.mark.parametrize(
    ("value", "needed"),
    [
        ("", False),
        ("text", False),
        ("https://example.com/a.jpg", True),
        ("http://example.com/a.jpg?x=1", True),
        ("see https://example.com/a.jpg", False),
        ("https://example.com is a site", False),
        ("/data/upload/4/a.jpg", True),
        ("upload/4/a.jpg", False),
        ("/data/local-files/?d=a.jpg", True),
        ("s3://bucket/a.jpg", True),
        ("gs://bucket/a.jpg", True),
        ("azure-blob://container/a.jpg", True),
        ("data:image/png;base64,AAAA", False),
        ("/etc/passwd", False),
        ("file:///etc/passwd", False),
        ("https://", False),
    ],
)
def test_is_preload_needed(value: str, needed: bool) -> None:
    assert utils.is_preload_needed(value) is needed


@pytest.mark.parametrize(("orientation", "size"), [(None, (30, 20)), (1, (30, 20)), (3, (30, 20)), (6, (20, 30))])
def test_get_image_size(tmp_path: Path, orientation: int | None, size: tuple[int, int]) -> None:
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(tmp_path / "image.jpg", exif=exif)
    assert utils.get_image_size(tmp_path / "image.jpg") == size
    assert utils.get_image_size(str(tmp_path / "image.jpg")) == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pillow_format", ["JPEG", "MPO", "PNG", "AVIF", "TIFF", "WEBP"])
def test_sizes_of_all_formats(tmp_path: Path, pillow_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(tmp_path / "image", pillow_format, exif=exif)
    expected = (20, 30) if orientation > 4 and pillow_format != "WEBP" else (30, 20)
    assert utils.get_image_size(tmp_path / "image") == expected


@pytest.mark.parametrize("block", [b"", b"Exif\0\0garbage"])
def test_size_with_a_damaged_block(tmp_path: Path, block: bytes) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "image.jpg", exif=block)
    assert utils.get_image_size(tmp_path / "image.jpg") == (30, 20)


def test_the_lru_cache_forgets_what_was_used_the_longest_ago() -> None:
    cache = InMemoryLRUDictCache(capacity=2)
    assert cache.get("a") is None
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    cache.put("a", 4)
    cache.put("d", 5)
    assert (cache.get("a"), cache.get("c"), cache.get("d")) == (4, None, 5)


def test_the_lru_cache_holds_one_by_default() -> None:
    cache = InMemoryLRUDictCache()
    cache.put("a", 1)
    cache.put("b", 2)
    assert (cache.get("a"), cache.get("b")) == (None, 2)


@pytest.mark.parametrize("capacity", [0, -1])
def test_the_lru_cache_needs_room(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity must be 1 or more"):
        InMemoryLRUDictCache(capacity)


def test_threads_share_the_lru_cache() -> None:
    cache = InMemoryLRUDictCache(capacity=3)

    def work(thread: int) -> None:
        for number in range(2000):
            cache.put(number % 7, thread)
            cache.get((number + thread) % 7)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(cache.cache) == 3
