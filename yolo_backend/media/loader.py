"""The room's entrance: from a value of a task's data to bytes, a picture, a video or a file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from yolo_backend.errors import MediaError
from yolo_backend.media import data_uri
from yolo_backend.media.budget import Budget
from yolo_backend.media.decode import inspect
from yolo_backend.media.encoded import Picture, Scale
from yolo_backend.media.fetch import open_regular_file, stream
from yolo_backend.media.sources import Inline, OnDisk, Source, locate
from yolo_backend.media.video import Limits, Video
from yolo_backend.observability import metrics
from yolo_backend.settings import Settings

if TYPE_CHECKING:
    from yolo_backend.label_studio.client import LabelStudio


@dataclass(frozen=True, kw_only=True)
class File:
    """A fetched file.

    Attributes:
        name: For messages, without secrets.
        data: Its content.
    """

    name: str
    data: bytes


class MediaLoader:
    """Fetches and decodes the files of tasks. One per process; safe to use from any number of threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # As many pixels as one picture may have: large ones are decoded one after the other, whatever the number of cores.
        self._pixels = Budget(settings.max_image_megapixels * 1e6)
        # Separate from that of images, since a video keeps its part for minutes.
        self._video_pixels = Budget(settings.max_image_megapixels * 1e6)

    def fetch(self, value: object, *, task_id: object, label_studio: LabelStudio) -> File:
        """Return the file that ``value`` names.

        Args:
            value: From a task's data; of any type, since it comes from outside.
            task_id: The task's id, without which cloud storage can't be opened.
            label_studio: The server of paths without a host, and the only one that gets its token.

        Raises:
            MediaError: it can't be fetched; the file's name and the reason.
        """
        source = self._locate(value, task_id, label_studio)
        with metrics.fetch_seconds.time():
            content = io.BytesIO()
            content.writelines(self._parts(source, label_studio))
            return File(name=source.name, data=content.getvalue())

    def decode(self, file: File, *, least_scale: Scale | None = None) -> Picture:
        """Return the image in a file; see `decode.decode`. Waits while other images use the memory that it needs.

        Raises:
            MediaError: it can't be decoded; the file's name and the reason.
        """
        try:
            image = inspect(file.data, max_megapixels=self._settings.max_image_megapixels)
            scale = image.scale(least_scale)
            with self._pixels.reserved(image.pixels * scale**2), metrics.decode_seconds.time():
                return image.decode(scale)
        except MediaError as error:
            raise MediaError(f"{file.name}: {error}") from None

    @contextmanager
    def video(self, value: object, limits: Limits, *, task_id: object, label_studio: LabelStudio) -> Iterator[Video]:
        """Open the video that ``value`` names, for as long as the context lasts.

        Waits while other videos use the memory that it needs. Arguments and errors as in ``fetch``; see `Video` as well.
        """
        with (
            self.local_file(value, task_id=task_id, label_studio=label_studio) as file,
            Video(file, limits) as video,
            self._video_pixels.reserved(video.pixels),
        ):
            yield video

    @contextmanager
    def local_file(self, value: object, *, task_id: object, label_studio: LabelStudio) -> Iterator[BinaryIO]:
        """Open the file that ``value`` names, for as long as the context lasts.

        A file under the document root is read in place. Any other is streamed to a temporary file, which no other process
        can open. Arguments and errors as in ``fetch``.
        """
        source = self._locate(value, task_id, label_studio)
        if isinstance(source, OnDisk):
            with open_regular_file(source) as mounted:
                yield mounted
            return
        with ExitStack() as opened:
            try:
                file = opened.enter_context(tempfile.TemporaryFile(prefix="yolo-backend-"))
                with metrics.fetch_seconds.time():
                    file.writelines(self._parts(source, label_studio))
                file.seek(0)
            except OSError as error:
                raise MediaError(f"{source.name}: can't be written to a temporary file: {error.strerror}") from None
            yield file

    def _locate(self, value: object, task_id: object, label_studio: LabelStudio) -> Source:
        return locate(
            value,
            task_id=task_id,
            label_studio=label_studio,
            document_root=self._settings.local_files_document_root,
        )

    def _parts(self, source: Source, label_studio: LabelStudio) -> Iterator[bytes]:
        if not isinstance(source, Inline):
            for part in stream(source, label_studio=label_studio, settings=self._settings):
                metrics.fetched_bytes.inc(len(part))
                yield part
            return
        try:
            yield from data_uri.parts(source.uri, max_bytes=int(self._settings.max_download_mb * 1e6))
        except MediaError as error:
            raise MediaError(f"{source.name}: {error}") from None
