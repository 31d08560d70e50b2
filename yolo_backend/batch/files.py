"""Predicts local files without a Label Studio, and writes them as tasks for its import."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from yolo_backend.controls import ImageControl
from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.task_data import Source, is_variable
from yolo_backend.media import Picture
from yolo_backend.media.sources import LOCAL_FILES
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import Plan
from yolo_backend.settings import Settings
from yolo_backend.tasks import Prediction, Task, with_unique_ids

IMAGES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".ico",
        ".tif",
        ".tiff",
        ".avif",
    )
)
VIDEOS = frozenset((".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ogv", ".mpg", ".mpeg"))
ADDRESS = f"{LOCAL_FILES}?d="
"""The address of a file in Label Studio's local storage, without its path in the document root."""


@dataclass(frozen=True, kw_only=True)
class PredictedFile:
    """A file and its outcome.

    Attributes:
        path: Of the file.
        prediction: With its final ids; None if it failed.
        task: As Label Studio imports it.
        reason: Why it failed, if it did.
    """

    path: Path
    prediction: Prediction | None
    task: Mapping[str, Any]
    reason: str | None = None


class FilePredictor:
    """Predicts files for one labeling config.

    Attributes:
        version: Of the models, once they are loaded.
    """

    version: str

    def __init__(self, settings: Settings, labeling_config: str) -> None:
        """Read a labeling config.

        Raises:
            ConfigError: nothing in it can be filled in, or it shows several things.
        """
        # Opens only files that are named on the command line.
        self._engine = Engine(settings.model_copy(update={"local_files_document_root": Path("/")}))
        self._plan = self._engine.plan(labeling_config)
        if not self._plan.passes:
            self.load()  # which raises the reason
        self._source, self._suffixes = _shown_source(self._plan)

    def load(self) -> None:
        """Load the models.

        Raises:
            ConfigError: they can't be used, and nothing can be filled in.
        """
        self.version = self._engine.preparer.settle(self._plan)

    @property
    def shows_images(self) -> bool:
        """Whether the files are images, and not videos."""
        return self._suffixes is IMAGES

    def picture(self, path: Path) -> Picture:
        """Return an image in all its pixels.

        Raises:
            MediaError: it can't be read.
        """
        media = self._engine.media
        return media.decode(
            media.fetch(ADDRESS + quote(path.as_posix()), task_id=None, label_studio=LabelStudio(url=None))
        )

    def find(self, paths: Sequence[Path]) -> list[Path]:
        """Return the files, and those in the directories that the labeling config can show, each once.

        Raises:
            ConfigError: a path doesn't exist, or there is no file at all.
        """
        files: dict[Path, None] = {}
        for path in paths:
            if path.is_dir():
                inside = sorted(
                    file for file in path.rglob("*") if file.suffix.lower() in self._suffixes and file.is_file()
                )
                files.update((file.resolve(), None) for file in inside)
            elif path.exists():
                files[path.resolve()] = None
            else:
                raise ConfigError(f"there is no file or directory {path}")
        if not files:
            raise ConfigError(
                f"no file to predict: none in {', '.join(map(str, paths))} ends in {_listed(self._suffixes)}"
            )
        return list(files)

    def predict(self, paths: Sequence[Path], *, prefix: str, root: Path) -> Iterator[PredictedFile]:
        """Predict files, and yield each in order.

        Args:
            paths: Absolute.
            prefix: Of the files' addresses in Label Studio; their path in ``root`` follows.
            root: A directory that contains all of them.

        Raises:
            ConfigError: a file is outside of ``root``.
        """
        root = root.resolve()
        for path in paths:
            if not path.is_relative_to(root):
                raise ConfigError(f"{path} is not under {root}, which addresses count from; name another --root")
        addresses = [prefix + quote(path.relative_to(root).as_posix()) for path in paths]
        # The log names tasks by their ids.
        tasks = [
            {"id": path.relative_to(root).as_posix(), "data": self._data(ADDRESS + quote(path.as_posix()))}
            for path in paths
        ]
        outcomes: dict[int, Prediction | Exception] = {}
        next_index = 0
        for index, outcome in self._engine.compute(self._plan, tasks, LabelStudio(url=None)):
            outcomes[index] = outcome
            while next_index in outcomes:
                yield self._predicted(paths[next_index], addresses[next_index], outcomes.pop(next_index))
                next_index += 1

    def _data(self, address: str) -> dict[str, Any]:
        return {self._source.value.removeprefix("$"): [address] if self._source.pages else address}

    def _predicted(self, path: Path, address: str, outcome: Prediction | Exception) -> PredictedFile:
        task: Task = {"data": self._data(address)}
        if isinstance(outcome, Exception):
            return PredictedFile(path=path, prediction=None, task=task, reason=str(outcome) or type(outcome).__name__)
        # The address serves as the task's id, since it stays the same when the file is predicted again.
        prediction = with_unique_ids(outcome, address)
        imported = {
            "model_version": prediction.model_version,
            "score": prediction.score,
            "result": prediction.regions,
        }
        return PredictedFile(path=path, prediction=prediction, task={**task, "predictions": [imported]})


def _shown_source(plan: Plan) -> tuple[Source, frozenset[str]]:
    """Return the part of a task that holds the file, and the suffixes of such files."""
    sources = list(dict.fromkeys((step.source, step.object_tag) for step in plan.passes))
    if len(sources) > 1:
        keys = ", ".join(source.value for source, _ in sources)
        raise ConfigError(f"the labeling config fills in regions on several things ({keys}); files can be only one")
    source, object_tag = sources[0]
    if not is_variable(source.value):
        raise ConfigError(
            f"a file can't stand for {source.value!r}, which the labeling config shows; a value such as $image is needed"
        )
    return source, IMAGES if object_tag == ImageControl.object_tag else VIDEOS


def _listed(suffixes: frozenset[str]) -> str:
    return ", ".join(sorted(suffixes))


@contextmanager
def json_list(path: Path) -> Iterator[JsonList]:
    """Write a JSON list to a file, item by item. The file appears at the end, complete.

    Raises:
        ConfigError: the file can't be written.
    """
    if path.is_dir():
        raise ConfigError(f"{path} can't be written: it is a directory")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            items = JsonList(file)
            yield items
            items.end()
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


class JsonList:
    """A list that is written as it grows."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._length = 0

    def append(self, item: object) -> None:
        """Write an item."""
        self._file.write(",\n" if self._length else "[\n")
        json.dump(item, self._file)
        self._length += 1

    def end(self) -> None:
        """Close the list."""
        self._file.write("\n]\n" if self._length else "[]\n")
