"""A video file to its pictures in order, each with the time at which a browser shows it.

PyAV decodes, not OpenCV: it gives the times, the length and the errors of a file, and it can be kept to formats that hold
their own data. OpenCV opens a playlist under any name, and with it other files of this machine and addresses of its network.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import av
import av.stream
import numpy as np

from yolo_backend.errors import MediaError
from yolo_backend.media.formats import kind_of
from yolo_backend.observability.request_id import ThreadPool

Item = TypeVar("Item")

FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "ogg", "avi", "mpegts", "mpeg", "flv", "asf")
"""Names of FFmpeg's for formats that hold all their data in the file."""

# In these a browser counts time from zero, whatever the first picture's; others start at any time.
_FROM_ZERO = frozenset({"mov", "matroska"})
_LEAST_CUT, _LEAST_CUT_PART = 1.0, 0.05
_UNKNOWN_RATE = 25


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video, turned as a browser shows it."""

    pixels: np.ndarray
    """(H, W, 3) uint8, BGR, C-contiguous."""
    start: float
    """When it comes on screen, in seconds from the start of the video."""
    end: float
    """When the next one does; the length of the video for the last one."""


def read_frames(path: Path, *, max_megapixels: float, max_frames: int = sys.maxsize) -> Generator[Frame, None, None]:
    """Yield the pictures of a video; the file is open for as long as the iterator is.

    Raises:
        MediaError: the file is no video, is damaged or cut off, has no picture, has pictures of more than
            ``max_megapixels`` (10^6 pixels), or more than ``max_frames`` of them.
    """
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), options=options)
    except (av.FFmpegError, UnicodeDecodeError) as error:
        raise MediaError(_not_a_video(path, error)) from None
    with container:
        stream = _video_stream(container)
        if stream is None:
            raise MediaError("the file has no video, only sound or still pictures")
        if stream.codec_context is None:
            raise MediaError("the video is compressed in a way that can't be decoded here: convert it to H.264 in MP4")
        _check_size(stream.width, stream.height, max_megapixels)
        _check_count(stream.frames, max_frames)
        stream.thread_type = "AUTO"
        shown: tuple[np.ndarray, float] | None = None
        seconds = 0.0  # where the last picture ends by its own account
        try:
            for number, (start, picture) in enumerate(_timed(container, stream), start=1):
                _check_count(number, max_frames)
                if shown is not None:
                    yield Frame(pixels=shown[0], start=shown[1], end=start)
                _check_size(picture.width, picture.height, max_megapixels)
                # The first picture is on screen from the start, even if its time comes later.
                shown = (_upright(picture), 0.0 if shown is None else start)
                seconds = start + _duration(picture, stream)
        except av.FFmpegError as error:
            raise MediaError(f"the video is damaged after {seconds:.1f} s ({_words(error)})") from None
        if shown is None:
            raise MediaError("the video has no picture that can be decoded")
        _check_end(container, stream, seconds)
        yield Frame(pixels=shown[0], start=shown[1], end=max(seconds, (container.duration or 0) / av.time_base))


def read_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """Yield what a generator yields, which runs in a thread of its own, at most ``count`` items ahead; then close it."""

    def following() -> list[Item]:
        """The next item, nothing at the end."""
        return list(islice(items, 1))

    with closing(items), ThreadPool(1, thread_name_prefix="decode") as pool:
        waiting = deque(pool.submit(following) for _ in range(count))
        try:
            while item := waiting.popleft().result():
                waiting.append(pool.submit(following))
                yield from item
        finally:
            for future in waiting:
                future.cancel()


def _video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & av.stream.Disposition.attached_pic), None)


def _timed(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield pictures with their times in seconds, which never go back."""
    zero = 0.0
    if not _FROM_ZERO.intersection(container.format.name.split(",")) and container.start_time:
        zero = container.start_time / av.time_base
    last, step = 0.0, 0.0
    for picture in container.decode(stream):
        start = last + step if picture.time is None else max(last, picture.time - zero)
        last, step = start, _duration(picture, stream)
        yield start, picture


def _duration(picture: av.VideoFrame, stream: av.VideoStream) -> float:
    if picture.duration and picture.time_base:
        return float(picture.duration * picture.time_base)
    return float(1 / (stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE))


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise MediaError(f"{width} × {height} pixels, more than MAX_IMAGE_MEGAPIXELS allows ({max_megapixels:g})")


def _check_count(frames: int, max_frames: int) -> None:
    if frames > max_frames:
        raise MediaError(f"a video of {frames} frames or more, and MAX_VIDEO_FRAMES allows {max_frames}")


def _check_end(container: av.container.InputContainer, stream: av.VideoStream, seconds: float) -> None:
    """Find a file that was cut off, where its format doesn't: its head says how long it should be."""
    declared = None
    if stream.duration is not None and stream.time_base is not None:
        declared = float(stream.duration * stream.time_base)
    elif len(container.streams) == 1 and container.duration is not None:
        declared = container.duration / av.time_base
    if declared is not None and seconds < declared - max(_LEAST_CUT, declared * _LEAST_CUT_PART):
        raise MediaError(f"the video is cut off: it ends after {seconds:.1f} of {declared:.1f} s")


def _upright(picture: av.VideoFrame) -> np.ndarray:
    """Return (H, W, 3) BGR pixels, turned and mirrored as the file says."""
    pixels = picture.to_ndarray(format="bgr24")
    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        # Where (x, y) goes: (a x + c y, b x + d y), in 1/65536. Browsers follow quarter turns and mirrors alone.
        a, b, _, c, d, *_ = (round(number / 65536) for number in struct.unpack("=9i", bytes(matrix)[:36]))
        if a == d == 0 and b and c:
            pixels = pixels.transpose(1, 0, 2)
            a, d = c, b
        elif b or c:
            return pixels
        pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(pixels)


def _not_a_video(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return "the file is empty"
    kind = kind_of(head) or "a file of an unknown kind"
    if kind.endswith("video"):
        return f"{kind} that is damaged or incomplete ({_words(error)})"
    return f"{kind}, not a video that can be read here"


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
