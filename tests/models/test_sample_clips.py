"""The sample clips and their truth belong together."""

import json
from pathlib import Path

import cv2
import pytest

VIDEO = Path(__file__).resolve().parents[2] / "examples" / "video"
TRUTH = json.loads((VIDEO / "truth.json").read_text(encoding="utf-8"))


def test_every_clip_has_its_truth() -> None:
    assert set(TRUTH) == {path.name for path in VIDEO.glob("*.mp4")}
    assert len(TRUTH) == 2


@pytest.mark.parametrize("name", TRUTH)
def test_truth_is_about_these_frames(name: str) -> None:
    entry = TRUTH[name]
    video = cv2.VideoCapture(str(VIDEO / name))
    assert video.get(cv2.CAP_PROP_FPS) == entry["fps"] == 25
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 360)
    frames = 0
    while video.grab():
        frames += 1
    assert frames == len(entry["frames"])
    labels: dict[int, str] = {}
    for item in (item for frame in entry["frames"] for item in frame):
        assert labels.setdefault(item["id"], item["label"]) == item["label"]
        x, y, width, height = item["box"]
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert x + width <= 640.01
        assert y + height <= 360.01
    assert set(labels.values()) == {"qr_code", "barcode"}


@pytest.mark.parametrize(
    ("name", "id_", "runs"),
    [("codes.mp4", 1, 1), ("codes.mp4", 2, 2), ("codes.mp4", 3, 1), ("passing.mp4", 1, 1), ("passing.mp4", 2, 1)],
    ids=["stays", "leaves and comes back", "stays too", "passes", "passes later"],
)
def test_comings_and_goings(name: str, id_: int, runs: int) -> None:
    seen = [any(item["id"] == id_ for item in frame) for frame in TRUTH[name]["frames"]]
    entries = sum(now and not before for before, now in zip([False, *seen], seen, strict=False))
    assert entries == runs


def test_passing_codes_are_alone_and_the_view_is_empty_between_them() -> None:
    frames = TRUTH["passing.mp4"]["frames"]
    assert max(len(frame) for frame in frames) == 1
    labels = [frame[0]["label"] if frame else "none" for frame in frames]
    changes = [label for before, label in zip([None, *labels], labels, strict=False) if label != before]
    assert changes == ["none", "qr_code", "none", "barcode", "none"]
