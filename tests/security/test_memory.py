"""What is small and opens into much: the most memory that a process takes, measured in one of its own."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.security.test_media import bmp, gif, jpeg, png, tiff, webp
from yolo_backend.media.decode import BYTES_PER_PIXEL
from yolo_backend.settings import PROJECT_DIR

SIDE = 4000
PIXELS = SIDE * SIDE
SPARE = 64e6  # bytes for buffers, whatever the size

# Runs some lines on a file, and says by how much the most memory of the process grew.
MEASURED = """
import resource, sys, threading
from pathlib import Path
from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.media.decode import decode
from yolo_backend.settings import Settings

file, small = (Path(name).read_bytes() for name in sys.argv[1:])
outcome = ""

def work():
    global outcome
    try:
        outcome = eval("{work}")
    except MediaError as error:
        outcome = error

decode(small, max_megapixels=1)
loader = MediaLoader(Settings(max_image_megapixels=16))
nowhere = LabelStudio(url=None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=work) for _ in range({threads})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), outcome)
"""


def most_memory(tmp_path: Path, file: bytes, work: str, *, threads: int = 1) -> tuple[int, str]:
    """Return by how many bytes a process grows, and what came of it."""
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "PNG")
    for name, content in {"file": file, "small": small.getvalue()}.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(work=work, threads=threads), tmp_path / "file", tmp_path / "small"],
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
    uri = "data:image/webp;base64," + base64.b64encode(file).decode()
    work = f"loader.decode(loader.fetch('{uri}', task_id=1, label_studio=nowhere)).pixels.shape"
    grown, outcome = most_memory(tmp_path, file, work, threads=4)
    assert outcome == f"({SIDE}, {SIDE}, 3)"
    assert grown < (BYTES_PER_PIXEL + 3 * 3) * PIXELS + SPARE
