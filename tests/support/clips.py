"""Small clips for tests, each picture with its number drawn as blocks, so that it survives any codec."""

from __future__ import annotations

import struct
import sys
from collections.abc import Generator, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from yolo_backend.media.video import Frame, Limits, Video

WIDTH, HEIGHT = 160, 64
BITS = 10
CFR_30 = [index / 30 for index in range(40)]
NTSC = [index * 1001 / 30000 for index in range(40)]
VFR = [0, 0.033, 0.053, 0.153, 0.186, 0.436, 0.686, 0.706, 0.806, 1.056, 1.076, 1.326, 1.346, 1.446, 1.696]


def numbered(number: int) -> np.ndarray:
    """A picture that `number_of` reads ``number`` from, its upper left quarter brighter than the rest: for turns."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    step = WIDTH // BITS
    for bit in range(BITS):
        if number >> bit & 1:
            picture[HEIGHT // 2 :, bit * step : (bit + 1) * step] = 255
    picture[: HEIGHT // 2, : WIDTH // 2] = 255
    return picture


def number_of(picture: np.ndarray) -> int:
    step = WIDTH // BITS
    blocks = picture[HEIGHT * 3 // 4, step // 2 :: step, 0] > 128
    return sum(int(on) << bit for bit, on in enumerate(blocks))


def write_clip(
    path: Path,
    times: Sequence[float],
    pictures: Iterable[np.ndarray] | None = None,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: float = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write pictures (numbered ones by default) that come on screen at ``times``, and ``sound`` seconds of silence."""
    pictures = [numbered(number) for number in range(len(times))] if pictures is None else pictures
    base = {".webm": Fraction(1, 1000), ".avi": Fraction(1, 30)}.get(path.suffix, Fraction(1, 90000))
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = container.add_stream(codec, rate=30)
        audio: Any = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = round(time / base), base
            video.codec_context.time_base = base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            for start in range(0, int(sound * 48000), 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 48000, start
                container.mux(audio.encode(silence))
            container.mux(audio.encode())
    return path


def turned(path: Path, matrix: Sequence[int]) -> Path:
    """Set the display matrix of an MP4's first track: (a, b, c, d) say that (x, y) goes to (ax + cy, bx + dy)."""
    data = bytearray(path.read_bytes())
    head = data.index(b"tkhd") + 4
    at = head + 4 + (32 if data[head] == 1 else 20) + 16
    a, b, c, d = (number * 65536 for number in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def read_frames(
    path: Path, *, megapixels: float = 1, frames: int = sys.maxsize, rate: float = 0
) -> Generator[Frame, None, None]:
    """The pictures of a video file; see `Limits`."""
    with path.open("rb") as file, Video(file, Limits(megapixels=megapixels, frames=frames, rate=rate)) as video:
        yield from video.frames()
