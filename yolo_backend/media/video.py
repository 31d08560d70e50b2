"""Reads the pictures of a video in order, each with the time at which a browser shows it.

PyAV decodes, not OpenCV: it reports the times, the duration and the errors of a file, and it can be limited to formats that
contain their own data. OpenCV opens a playlist under any name, and with it other files of this machine and its network.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, TypeVar

import av
import av.stream
import numpy as np

from yolo_backend.errors import MediaError
from yolo_backend.media.formats import kind_of
from yolo_backend.observability.request_id import ThreadPool

Item = TypeVar("Item")

FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "ogg", "avi", "mpegts", "mpeg", "flv", "asf")
"""FFmpeg's names of the formats that contain all their data."""

# Formats whose time a browser counts from zero, whatever the time of the first picture; others start at any time.
_FROM_ZERO = frozenset({"mov", "matroska"})
_LEAST_CUT, _LEAST_CUT_PART = 1.0, 0.05
_LEAST_TAIL = 1.0  # seconds
_UNKNOWN_RATE = 25
BYTES_PER_PIXEL = 64
"""The most memory that a video takes for each pixel of a picture: a format may need the sixteen pictures before one."""
_UNREADABLE = (av.FFmpegError, OSError)  # the latter where a file points to before its start
_MOST_THREADS = 16


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video, turned as a browser shows it.

    Attributes:
        pixels: (H, W, 3) uint8, BGR, C-contiguous.
        start: When it comes on screen, in seconds from the start of the video.
        end: When the next picture does; for the last one the duration of the video, as far as the decoded pictures confirm it.
    """

    pixels: np.ndarray
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a video.

    Attributes:
        megapixels: Of a picture, in 10^6 pixels.
        frames: The number of pictures, and of frames that the editor counts.
        rate: The frames that the editor counts per second.
    """

    megapixels: float
    frames: int = sys.maxsize
    rate: float = 0


@dataclass(frozen=True)
class _Turn:
    """How pictures are turned: rows and columns are swapped first, and then flipped."""

    is_quarter: bool = False
    flips_down: bool = False
    flips_across: bool = False

    def applied(self, pixels: np.ndarray) -> np.ndarray:
        """Return (H, W, 3) pixels as they are shown."""
        if self.is_quarter:
            pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[:: -1 if self.flips_down else 1, :: -1 if self.flips_across else 1]
        return np.ascontiguousarray(pixels)


class Video:
    """An open video. Its file belongs to the caller, who closes it."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        """Read the header.

        Raises:
            MediaError: the file is no video, or has more than its ``limits`` allow.
        """
        self._limits = limits
        # The file must not open others.
        options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
        try:
            self._container = av.open(file, "r", options=options)
        except (*_UNREADABLE, UnicodeDecodeError) as error:
            raise MediaError(_not_a_video(file, error)) from None
        try:
            self._stream = self._checked_stream()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Video:
        """Return the video, which is closed at the end of the context."""
        return self

    def __exit__(self, *exception: object) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()

    @property
    def pixels(self) -> int:
        """The number of pixels of a picture, by the header."""
        return max(self._stream.width * self._stream.height, 1)

    def frames(self) -> Generator[Frame, None, None]:
        """Yield the pictures.

        Raises:
            MediaError: the video is damaged or cut off, has no picture, or has more than its limits allow.
        """
        shown: tuple[np.ndarray, float] | None = None
        seconds = 0.0  # where the last picture ends by its own account
        longest = _LEAST_TAIL  # that a picture was on screen
        # Of the first picture alone: one that was asked for what is beside its pixels stays in memory for long.
        turn: _Turn | None = None
        try:
            for number, (start, picture) in enumerate(self._timed(), start=1):
                self._check_count(number)
                self._check_length(start)
                if shown is not None:
                    longest = max(longest, start - shown[1])
                    yield Frame(pixels=shown[0], start=shown[1], end=start)
                self._check_size(picture.width, picture.height)
                # The first picture is on screen from the start, even if its time comes later.
                turn = turn or _turn(picture)
                shown = (turn.applied(picture.to_ndarray(format="bgr24")), 0.0 if shown is None else start)
                seconds = start + self._duration(picture)
        except _UNREADABLE as error:
            raise MediaError(f"the video is damaged after {seconds:.1f} s ({_words(error)})") from None
        if shown is None:
            raise MediaError("the video has no picture that can be decoded")
        self._check_end(seconds)
        # The file merely claims how long the last one stays. Sound may last longer than the pictures, but not by much.
        end = min(max(seconds, (self._container.duration or 0) / av.time_base), shown[1] + longest)
        self._check_length(end)
        yield Frame(pixels=shown[0], start=shown[1], end=end)

    def _checked_stream(self) -> av.VideoStream:
        streams = self._container.streams.video
        stream = next((s for s in streams if not s.disposition & av.stream.Disposition.attached_pic), None)
        if stream is None:
            raise MediaError("the file has no video, only sound or still pictures")
        if stream.codec_context is None:
            raise MediaError("the video is compressed in a way that can't be decoded here: convert it to H.264 in MP4")
        self._check_size(stream.width, stream.height)
        self._check_count(stream.frames)
        # Each thread keeps a picture in memory.
        pictures = int(self._limits.megapixels * 1e6 / max(stream.width * stream.height, 1))
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = max(1, min(os.cpu_count() or 1, _MOST_THREADS, pictures))
        return stream

    def _timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield pictures with their times in seconds, which never decrease."""
        zero = 0.0
        container = self._container
        if not _FROM_ZERO.intersection(container.format.name.split(",")) and container.start_time:
            zero = container.start_time / av.time_base
        last, step = 0.0, 0.0
        for picture in container.decode(self._stream):
            start = last + step if picture.time is None else max(last, picture.time - zero)
            last, step = start, self._duration(picture)
            yield start, picture

    def _duration(self, picture: av.VideoFrame) -> float:
        if picture.duration and picture.time_base:
            return float(picture.duration * picture.time_base)
        return float(1 / (self._stream.average_rate or self._stream.guessed_rate or _UNKNOWN_RATE))

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.megapixels * 1e6:
            raise MediaError(
                f"{width} × {height} pixels, more than MAX_IMAGE_MEGAPIXELS allows ({self._limits.megapixels:g})"
            )

    def _check_count(self, frames: int) -> None:
        if frames > self._limits.frames:
            raise MediaError(f"a video of {frames} frames or more, and MAX_VIDEO_FRAMES allows {self._limits.frames}")

    def _check_length(self, seconds: float) -> None:
        if seconds * self._limits.rate > self._limits.frames:
            raise MediaError(
                f"a video of {seconds:.1f} s or more by its own account, which are {seconds * self._limits.rate:.0f} frames "
                f"at {self._limits.rate:g} in a second (frameRate), and MAX_VIDEO_FRAMES allows {self._limits.frames}"
            )

    def _check_end(self, seconds: float) -> None:
        """Detect a truncated file, which some formats don't: its header declares a longer duration.

        Raises:
            MediaError: it is truncated.
        """
        declared = None
        if self._stream.duration is not None and self._stream.time_base is not None:
            declared = float(self._stream.duration * self._stream.time_base)
        elif len(self._container.streams) == 1 and self._container.duration is not None:
            declared = self._container.duration / av.time_base
        if declared is not None and seconds < declared - max(_LEAST_CUT, declared * _LEAST_CUT_PART):
            raise MediaError(f"the video is cut off: it ends after {seconds:.1f} of {declared:.1f} s")


def read_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """Run a generator in a thread of its own, at most ``count`` items ahead, and close it at the end."""

    def next_item() -> list[Item]:
        """Return a list with the next item, an empty one at the end."""
        return list(islice(items, 1))

    with closing(items), ThreadPool(1, thread_name_prefix="decode") as pool:
        futures = deque(pool.submit(next_item) for _ in range(count))
        try:
            while item := futures.popleft().result():
                futures.append(pool.submit(next_item))
                yield from item
        finally:
            for future in futures:
                future.cancel()


def _turn(picture: av.VideoFrame) -> _Turn:
    """Return how a file says that its pictures are turned and mirrored."""
    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _Turn()
    # Where (x, y) goes: (a x + c y, b x + d y), in 1/65536. Browsers follow quarter turns and mirrors alone.
    a, b, _, c, d, *_ = (round(number / 65536) for number in struct.unpack("=9i", bytes(matrix)[:36]))
    is_quarter = bool(a == d == 0 and b and c)
    if is_quarter:
        a, d = c, b
    elif b or c:
        return _Turn()
    return _Turn(is_quarter=is_quarter, flips_down=d < 0, flips_across=a < 0)


def _not_a_video(file: BinaryIO, error: Exception) -> str:
    file.seek(0)
    head = file.read(4096)
    if not head:
        return "the file is empty"
    kind = kind_of(head) or "a file of an unknown kind"
    if kind.endswith("video"):
        return f"{kind} that is damaged or incomplete ({_words(error)})"
    return f"{kind}, not a video that can be read here"


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
