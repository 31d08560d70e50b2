"""What is small and opens into much: the most memory that a process takes, measured in one of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.security.test_media import bmp, gif, jpeg, png, tiff, webp
from yolo_backend.media.decode import BYTES_PER_PIXEL
from yolo_backend.media.video import BYTES_PER_PIXEL as VIDEO_BYTES_PER_PIXEL
from yolo_backend.settings import PROJECT_DIR

SIDE = 4000
PIXELS = SIDE * SIDE
SPARE = 64e6  # bytes for buffers, whatever the size

# Runs some lines on a file, and says by how much the most memory of the process grew.
MEASURED = """
import resource, sys, threading
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.media.decode import decode
from yolo_backend.media.video import Limits, read_ahead
from yolo_backend.settings import Settings
from yolo_backend.settings.hosts import Hosts

file, small = (Path(name).read_bytes() for name in sys.argv[1:])
outcome = ""

def work():
    global outcome
    try:
        outcome = eval("{work}")
    except MediaError as error:
        outcome = error

def picture():
    return loader.decode(loader.fetch(uri, task_id=1, label_studio=nowhere))

def pictures_of_video():
    with loader.video(uri, Limits(megapixels={megapixels}), task_id=1, label_studio=nowhere) as video:
        with closing(read_ahead(video.frames(), 1)) as ahead:
            return sum(1 for _ in ahead)

uri = "data:;base64," + b64encode(file).decode()
decode(small, max_megapixels=1)
loader = MediaLoader(Settings(max_image_megapixels={megapixels}))
nowhere = LabelStudio(url=None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=work) for _ in range({threads})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), outcome)
"""


def most_memory(tmp_path: Path, file: bytes, work: str, *, threads: int = 1, megapixels: float = 16) -> tuple[int, str]:
    """Return by how many bytes a process grows, and what came of it."""
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "PNG")
    for name, content in {"file": file, "small": small.getvalue()}.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURED.format(work=work, threads=threads, megapixels=megapixels),
            tmp_path / "file",
            tmp_path / "small",
        ],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    grown, _, outcome = done.stdout.strip().partition(" ")
    return int(grown), outcome


def saved(mode: str, pillow_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(file, pillow_format, **options)
    return file.getvalue()


WHOLE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "JPEG", {}),
    "progressive JPEG": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "CMYK JPEG": ("CMYK", "JPEG", {}),
    "PNG": ("RGB", "PNG", {}),
    "see-through PNG": ("RGBA", "PNG", {}),
    "PNG of 16 bits": ("I;16", "PNG", {}),
    "GIF": ("P", "GIF", {}),
    "WebP": ("RGB", "WEBP", {"lossless": True}),
    "see-through WebP": ("RGBA", "WEBP", {"quality": 50}),
    "animated WebP": ("RGB", "WEBP", {"save_all": True, "append_images": [Image.new("RGB", (SIDE, SIDE), "red")]}),
    "TIFF": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "see-through TIFF": ("RGBA", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "AVIF": ("RGB", "AVIF", {"speed": 10}),
    "see-through AVIF": ("RGBA", "AVIF", {"speed": 10}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_picture(tmp_path: Path, name: str) -> None:
    mode, pillow_format, options = WHOLE[name]
    file = saved(mode, pillow_format, **options)
    grown, outcome = most_memory(tmp_path, file, "decode(file, max_megapixels=16).pixels.shape")
    assert outcome == f"({SIDE}, {SIDE}, 3)"
    assert grown < BYTES_PER_PIXEL * PIXELS + SPARE


@pytest.mark.parametrize("make", [bmp, gif, jpeg, png, tiff, webp])
def test_a_header_without_pixels(tmp_path: Path, make: Callable[[int, int], bytes]) -> None:
    grown, _ = most_memory(tmp_path, make(SIDE, SIDE), "decode(file, max_megapixels=16)")
    assert grown < BYTES_PER_PIXEL * PIXELS + SPARE


def test_pictures_of_several_threads(tmp_path: Path) -> None:
    """Each keeps its pixels, of three bytes, while the others are decoded."""
    file = saved("RGB", "WEBP", lossless=True)
    grown, outcome = most_memory(tmp_path, file, "picture().pixels.shape", threads=4)
    assert outcome == f"({SIDE}, {SIDE}, 3)"
    assert grown < (BYTES_PER_PIXEL + 3 * 3) * PIXELS + SPARE


@pytest.mark.parametrize(("codec", "options"), [("libx264", {"x264-params": "ref=16:bframes=0"}), ("libvpx-vp9", {})])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_video(tmp_path: Path, codec: str, options: dict[str, str], threads: int) -> None:
    """Black pictures, each of which needs the sixteen before it: 12 kB of H.264."""
    frame = av.VideoFrame.from_ndarray(np.full((SIDE * 3 // 4, SIDE // 2), 16, np.uint8), format="yuv420p")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"preset": "ultrafast"} | options)
        stream.width = stream.height = SIDE // 2
        for _ in range(40):
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file = (tmp_path / "clip.mp4").read_bytes()
    grown, outcome = most_memory(tmp_path, file, "pictures_of_video()", threads=threads, megapixels=4)
    assert outcome == "40"
    assert grown < VIDEO_BYTES_PER_PIXEL * PIXELS / 4 + SPARE


@pytest.mark.parametrize(
    ("start", "body"),
    [
        ("data:image/png;base64,", "QUJD" * 5_000_000),
        ("data:;base64,", "QUJD\n" * 4_000_000),
        ("data:;base64,", "%51%55%4a%44" * 1_700_000),
        ("data:,", "%41" * 7_000_000),
        ("data:,", "%41é" * 5_000_000),
    ],
    ids=["base64", "base64 in lines", "base64 in percent signs", "percent signs", "characters"],
)
def test_data_in_a_task(tmp_path: Path, start: str, body: str) -> None:
    file = (start + body).encode()
    grown, outcome = most_memory(
        tmp_path, file, "len(loader.fetch(file.decode(), task_id=1, label_studio=nowhere).data)"
    )
    assert int(outcome) > 0
    assert grown < 4 * len(file) + SPARE


@pytest.mark.parametrize(
    ("body", "multiple"),
    [(b" " * 1_000_000, 2), (b"[],{}," * 170_000, 32), ('"é猫"'.encode() * 140_000, 8)],
    ids=["blanks", "empty lists and dictionaries", "characters"],
)
def test_an_answer_of_label_studio(tmp_path: Path, web: Any, body: bytes, multiple: float) -> None:
    """Four hundred megabytes, of which eight are read."""

    def answer(handler: Any, asked: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        with suppress(OSError):
            handler.wfile.write(b"[")
            for _ in range(400 if asked.target == "/endless" else 7):
                handler.wfile.write(body)
            handler.wfile.write(b"[]]")

    web.routes |= {"/endless": answer, "/long": answer}
    for path in ("/endless", "/long"):
        work = (
            f"LabelStudio(url='{web.url}', hosts=Hosts(everything=True), max_answer=8_000_000).call('GET', '{path}')[0]"
        )
        grown, outcome = most_memory(tmp_path, b"", work)
        assert ("more than MAX_ANSWER_MB allows (8)" in outcome) == (path == "/endless")
        assert grown < multiple * 8e6 + SPARE / 4
