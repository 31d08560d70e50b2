import shutil
import struct
import threading
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.clips import CFR_30, HEIGHT, NTSC, VFR, WIDTH, number_of, numbered, read_frames, turned, write_clip
from yolo_backend.errors import MediaError
from yolo_backend.media.video import Frame, read_ahead
from yolo_backend.settings import PROJECT_DIR


def frames_of(path: Path, **limits: Any) -> list[Frame]:
    return list(read_frames(path, **limits))


@pytest.mark.parametrize(
    ("name", "times", "codec", "sound", "length"),
    [
        ("constant.mp4", CFR_30, "libx264", 0, 4 / 3),
        ("constant.webm", CFR_30, "libvpx-vp9", 0, 4 / 3),
        ("constant.mkv", CFR_30, "libx264", 0, 4 / 3),
        ("ntsc.mp4", NTSC, "libx264", 0, 40 * 1001 / 30000),
        ("variable.mp4", VFR, "libx264", 0, None),
        ("variable.webm", VFR, "libvpx-vp9", 0, None),
        # A browser counts from zero, and shows the first picture until its time has come and gone.
        ("late.mp4", [0.5 + time for time in CFR_30], "libx264", 0, 0.5 + 4 / 3),
        # The last picture stays while the sound goes on.
        ("sound.mp4", CFR_30, "libx264", 2, 2),
        # These count from anywhere.
        ("stream.ts", CFR_30, "libx264", 0, 4 / 3),
        ("old.avi", CFR_30, "mpeg4", 0, 4 / 3),
        ("one.mp4", [0], "libx264", 0, 1 / 30),
    ],
)
def test_pictures_come_in_order_with_their_times(
    tmp_path: Path, name: str, times: list[float], codec: str, sound: float, length: float | None
) -> None:
    frames = frames_of(write_clip(tmp_path / name, times, codec=codec, sound=sound))
    assert [number_of(frame.pixels) for frame in frames] == list(range(len(times)))
    assert [frame.start for frame in frames] == pytest.approx([0, *times[1:]], abs=0.0006)
    assert [frame.end for frame in frames[:-1]] == [frame.start for frame in frames[1:]]
    assert frames[-1].end > frames[-1].start
    if length is not None:
        assert frames[-1].end == pytest.approx(length, abs=0.03)
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert frames[0].pixels.dtype == np.uint8
    assert frames[0].pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        # As Chromium shows them; bright is the corner where the upper left quarter goes.
        ((1, 0, 0, 1), "top left"),
        ((0, 1, -1, 0), "top right"),
        ((-1, 0, 0, -1), "bottom right"),
        ((0, -1, 1, 0), "bottom left"),
        ((-1, 0, 0, 1), "top right"),
        ((1, 0, 0, -1), "bottom left"),
        ((0, 1, 1, 0), "top left"),
    ],
)
def test_pictures_are_turned_as_a_browser_shows_them(tmp_path: Path, matrix: list[int], bright: str) -> None:
    frame = frames_of(turned(write_clip(tmp_path / "phone.mp4", [0, 0.1]), matrix))[0]
    quarter_turn = matrix[0] == 0
    assert frame.pixels.shape[:2] == ((WIDTH, HEIGHT) if quarter_turn else (HEIGHT, WIDTH))
    height, width = (size // 2 for size in frame.pixels.shape[:2])
    quarters = {
        "top left": frame.pixels[:height, :width],
        "top right": frame.pixels[:height, width:],
        "bottom left": frame.pixels[height:, :width],
        "bottom right": frame.pixels[height:, width:],
    }
    assert max(quarters, key=lambda name: float(quarters[name].mean())) == bright


def _sound(path: Path, *, video: bool) -> None:
    """Sound, beside it a video without a picture if ``video``."""
    with av.open(str(path), "w", format="matroska") as container:
        if video:
            empty: Any = container.add_stream("libx264", rate=30)
            empty.width, empty.height, empty.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream: Any = container.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 10240, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 48000, start
            container.mux(stream.encode(silence))
        container.mux(stream.encode())


def _cut(path: Path, part: float, codec: str = "libx264", options: dict[str, str] | None = None) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (90, HEIGHT, WIDTH, 3), np.uint8)
    data = write_clip(path, [index / 30 for index in range(90)], list(noise), codec=codec, options=options).read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def _unknown_codec(path: Path) -> None:
    path.write_bytes(write_clip(path, CFR_30).read_bytes().replace(b"avc1", b"zzzz"))


def _damaged(path: Path) -> None:
    data = bytearray(write_clip(path, CFR_30, options={"movflags": "faststart"}).read_bytes())
    middle = len(data) * 8 // 10
    data[middle : middle + 100] = bytes(255 for _ in range(100))
    path.write_bytes(data)


def _playlist(path: Path) -> None:
    other = write_clip(path.with_name("other.ts"), CFR_30)
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n")


def _list_of_files(path: Path) -> None:
    write_clip(path.with_name("other.mp4"), CFR_30)
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("hello"), "a text file, not a video"),
        (lambda path: path.write_text("<html>sign in</html>"), "a web page, not a video"),
        (lambda path: path.write_bytes(bytes(range(256)) * 50), "a file of an unknown kind, not a video"),
        (lambda path: shutil.copy(PROJECT_DIR / "examples/images/photo-01.jpg", path), "a JPEG, not a video"),
        (lambda path: _sound(path, video=False), "no video, only sound"),
        (lambda path: _sound(path, video=True), "no picture that can be decoded"),
        (lambda path: _cut(path, 0.6), "an MP4 video that is damaged or incomplete"),
        (lambda path: _cut(path, 0.6, options={"movflags": "faststart"}), "damaged after|cut off"),
        (_damaged, "damaged after"),
        (_unknown_codec, "can't be decoded here: convert it"),
        # These open other files, and addresses, if they are let.
        (_playlist, "not a video"),
        (_list_of_files, "not a video"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "upload.mp4"
    make(path)
    with pytest.raises(MediaError, match=words):
        frames_of(path)


@pytest.mark.slow
def test_a_file_that_was_cut_off_is_named_though_its_format_does_not_notice(tmp_path: Path) -> None:
    path = tmp_path / "upload.webm"
    _cut(path, 0.4, codec="libvpx-vp9")
    with pytest.raises(MediaError, match=r"cut off: it ends after \d.\d of 3.0 s"):
        frames_of(path)


def test_pictures_may_not_be_larger_than_allowed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [0])
    assert len(frames_of(path, megapixels=WIDTH * HEIGHT / 1e6)) == 1
    with pytest.raises(MediaError, match="160 × 64 pixels, more than MAX_IMAGE_MEGAPIXELS"):
        frames_of(path, megapixels=WIDTH * HEIGHT / 1e6 - 1e-6)


def _stays(path: Path, seconds: int) -> Path:
    """Let the last picture of an MP4 stay for so long by its account."""
    data = bytearray(path.read_bytes())
    times, scale = data.index(b"stts"), data.index(b"mdhd") + 16
    (entries,) = struct.unpack_from(">I", data, times + 8)
    (units,) = struct.unpack_from(">I", data, scale)
    struct.pack_into(">I", data, times + 12 + 8 * (entries - 1) + 4, seconds * units)
    path.write_bytes(data)
    return path


def _slowed(path: Path) -> Path:
    """Let the clock of a Matroska file run 16 times as slowly."""
    data = path.read_bytes()
    at = data.index(b"\x2a\xd7\xb1\x83") + 4
    path.write_bytes(data[:at] + (16_000_000).to_bytes(3, "big") + data[at + 3 :])
    return path


@pytest.mark.parametrize(
    ("name", "times", "change", "sound", "length"),
    [
        pytest.param("one.mp4", [0], lambda path: _stays(path, 3600), 0, 1, id="one picture for an hour"),
        pytest.param("one.mp4", [0], lambda path: _stays(path, 20_000), 0, 1, id="one picture for a day"),
        pytest.param("slow.mkv", [0, 1 / 30], _slowed, 5, 0.528 + 1, id="sound that lasts"),
        pytest.param("slides.mkv", [0, 5, 15, 18], lambda path: path, 30, 28, id="as long as one before"),
        pytest.param("sound.mp4", [0, 0.1], lambda path: path, 0.9, 0.9, id="sound that lasts a little"),
    ],
)
def test_the_last_picture_stays_no_longer_than_is_likely(
    tmp_path: Path, name: str, times: list[float], change: Callable[[Path], Path], sound: float, length: float
) -> None:
    path = change(write_clip(tmp_path / name, times, codec="libvpx-vp9", sound=sound))
    assert frames_of(path)[-1].end == pytest.approx(length, abs=0.1)


@pytest.mark.parametrize(
    ("name", "times", "seconds"),
    [
        pytest.param(f"clip{suffix}", times, seconds, id=f"{name} {suffix}")
        for suffix in (".mkv", ".webm", ".mp4")
        for name, times, seconds in (
            ("a picture that comes late", [0, 0.04, 1e4], "10000.0"),
            ("in 30 years", [0, 0.04, 1e9], "1000000000.0"),
            ("the first comes late", [1e4, 1e4 + 1], "10000.0"),
            ("a frame too many", [0, 1, 8000, 8400], "8400.0"),
        )
        if suffix != ".mp4" or times[-1] < 1e8  # for which it has no place
    ],
)
def test_a_video_may_not_claim_to_be_longer_than_allowed(
    tmp_path: Path, name: str, times: list[float], seconds: str
) -> None:
    path = write_clip(tmp_path / name, times, codec="libvpx-vp9")
    with pytest.raises(MediaError, match=rf"a video of {seconds}.* s or more by its own account.* 200000$"):
        frames_of(path, frames=200_000, rate=24)


def test_a_video_may_be_as_long_as_allowed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [0, 1, 3600], codec="libvpx-vp9")
    frames = frames_of(path, frames=200_000, rate=24)
    assert [frame.start for frame in frames] == pytest.approx([0, 1, 3600], abs=0.001)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])  # the head of the first says how many there are
def test_a_video_may_not_be_longer_than_allowed(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, CFR_30)
    assert len(frames_of(path, frames=40)) == 40
    with pytest.raises(MediaError, match="40 frames or more, and MAX_VIDEO_FRAMES allows 39"):
        frames_of(path, frames=39)


def test_few_pictures_are_in_memory_at_a_time(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [index / 30 for index in range(300)])
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()
    most = 0
    for frame in read_ahead(read_frames(path), 4):
        alive.add(frame)
        most = max(most, len(alive))
    assert most <= 2


class TestReadAhead:
    @pytest.mark.parametrize("count", [0, 1, 3, 4, 50])
    def test_items_come_in_order(self, count: int) -> None:
        assert list(read_ahead((n for n in range(count)), 3)) == list(range(count))

    def test_it_runs_no_farther_ahead(self) -> None:
        made, ready = 0, threading.Event()

        def items() -> Generator[int, None, None]:
            nonlocal made
            for number in range(100):
                made += 1
                if made == 4:
                    ready.set()
                yield number

        ahead = read_ahead(items(), 3)
        assert next(ahead) == 0
        assert ready.wait(10)  # three more than were taken
        ahead.close()
        assert made == 4

    def test_the_source_is_closed_when_it_is_left(self) -> None:
        closed = []

        def items() -> Generator[int, None, None]:
            try:
                yield from range(100)
            finally:
                closed.append(True)

        ahead = read_ahead(items(), 3)
        next(ahead)
        ahead.close()
        assert closed == [True]

    def test_an_error_comes_where_it_happened(self) -> None:
        def items() -> Generator[int, None, None]:
            yield 0
            yield 1
            raise MediaError("damaged")

        ahead = read_ahead(items(), 5)
        assert [next(ahead), next(ahead)] == [0, 1]
        with pytest.raises(MediaError, match="damaged"):
            next(ahead)


def test_numbers_can_be_read_from_pictures() -> None:
    assert [number_of(numbered(number)) for number in (0, 1, 5, 1023)] == [0, 1, 5, 1023]
