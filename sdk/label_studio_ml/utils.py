"""Small helpers for models: labeling configs, tasks, images."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

DATA_UNDEFINED_NAME = "$undefined$"
"""The key under which Label Studio keeps an imported file's URL while no labeling config names one."""

_URL = re.compile(r"(https?://|s3://|gs://|azure-blob://|/?data/(upload|local-files)/|/storage-data/)\S+")


def get_image_size(filepath: str | Path) -> tuple[int, int]:
    """Return width and height in pixels, as a browser shows the image: after its EXIF orientation."""
    with Image.open(filepath) as image:
        return ImageOps.exif_transpose(image).size if image.getexif().get(0x0112, 1) > 4 else image.size


def get_single_tag_keys(
    parsed_label_config: Mapping[str, Any], control_type: str, object_type: str
) -> tuple[str, str, str, list[str]]:
    """Read a labeling config that has one control tag on one object tag.

    Returns:
        The control's name, the object's name, the key of the task's data that the object shows, and the labels.

    Raises:
        ValueError: The config is another one; the message says what was found.
    """
    if len(parsed_label_config) != 1:
        raise ValueError(f"Expected one control tag, <{control_type}>, and found {_described(parsed_label_config)}")
    ((from_name, info),) = parsed_label_config.items()
    if info["type"] != control_type or [each["type"] for each in info["inputs"]] != [object_type]:
        raise ValueError(
            f"Expected <{control_type}> on one <{object_type}>, and found {_described(parsed_label_config)}"
        )
    return from_name, info["to_name"][0], _data_key(info["inputs"][0]), info["labels"]


def get_first_tag_keys(
    parsed_label_config: Mapping[str, Any], control_type: str, object_type: str
) -> tuple[str, str, str]:
    """Find the first control tag of a type on an object tag of a type, among whatever else the config holds.

    Returns:
        The control's name, the object's name, and the key of the task's data that the object shows.

    Raises:
        ValueError: There is none; the message says what there is.
    """
    return first_tag(parsed_label_config, control_type, object_type)


def first_tag(
    parsed_label_config: Mapping[str, Any],
    control_type: str | Iterable[str],
    object_type: str | Iterable[str],
    name_filter: Callable[[str], bool] | None = None,
    to_name_filter: Callable[[str], bool] | None = None,
) -> tuple[str, str, str]:
    """Do the work of ``get_first_tag_keys`` and ``LabelStudioMLBase.get_first_tag_occurence``."""
    controls = {control_type} if isinstance(control_type, str) else set(control_type)
    objects = {object_type} if isinstance(object_type, str) else set(object_type)
    for from_name, info in parsed_label_config.items():
        if info["type"] not in controls or (name_filter and not name_filter(from_name)):
            continue
        for to_name, shown in zip(info["to_name"], info["inputs"], strict=False):
            if shown["type"] in objects and (not to_name_filter or to_name_filter(to_name)):
                return from_name, to_name, _data_key(shown)
    raise ValueError(
        f"The labeling config has no {_tags(controls)} on {_tags(objects)}"
        f"{' whose name the filter lets through' if name_filter or to_name_filter else ''}; "
        f"it has {_described(parsed_label_config)}"
    )


def is_skipped(task: Mapping[str, Any]) -> bool:
    """Tell whether a task was skipped: it has annotations, and all of them were cancelled."""
    annotations = task.get("annotations") or []
    return bool(annotations) and all(each.get("was_cancelled") or each.get("skipped") for each in annotations)


def get_choice(task: Mapping[str, Any]) -> str:
    """Return the choice of a task's first annotation.

    Raises:
        ValueError: It has none.
    """
    for annotation in (task.get("annotations") or [])[:1]:
        for region in annotation.get("result") or []:
            if choices := (region.get("value") or {}).get("choices"):
                return choices[0]
    raise ValueError(f"Task {task.get('id')} has no annotation with a choice")


def match_labels(labels: Mapping[str, Iterable[str]], names: Iterable[str]) -> dict[str, str]:
    """Find the label for each class of a model.

    Args:
        labels: For each label, the names of classes that it stands for.
        names: The classes of the model.

    Returns:
        The label for every class that has one; the keys keep the model's spelling. A name that matches exactly goes
        before one that matches when case is ignored, and the earlier label before the later one.
    """
    wanted = [(name.strip(), label) for label, own in labels.items() for name in own]
    exact = dict(reversed(wanted))
    ignoring_case = {name.casefold(): label for name, label in reversed(wanted)}
    matched = {name: exact.get(name, ignoring_case.get(name.strip().casefold())) for name in names}
    return {name: label for name, label in matched.items() if label is not None}


def is_preload_needed(value: str) -> bool:
    """Tell whether a value of a task's data is the address of a file that Label Studio, a cloud or a server holds."""
    return bool(_URL.fullmatch(value))


class InMemoryLRUDictCache:
    """A dict with room for ``capacity`` entries; the one used the longest ago makes room. Safe across threads."""

    def __init__(self, capacity: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more, got {capacity}")
        self.capacity = capacity
        self.cache: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        """Return the entry and make it the last one used, or None where there is none."""
        with self._lock:
            if key not in self.cache:
                return None
            self.cache.move_to_end(key)
            return self.cache[key]

    def put(self, key: Any, item: Any) -> None:
        """Keep an entry."""
        with self._lock:
            self.cache[key] = item
            self.cache.move_to_end(key)
            while len(self.cache) > self.capacity:
                self.cache.popitem(last=False)


def _data_key(shown: Mapping[str, Any]) -> str:
    return shown.get("value") or shown.get("valueList") or DATA_UNDEFINED_NAME


def _tags(types: set[str]) -> str:
    return " or ".join(f"<{each}>" for each in sorted(types))


def _described(parsed_label_config: Mapping[str, Any]) -> str:
    """Return the controls of a config in words, for error messages."""
    described = [
        f"<{info['type']} name={name!r}> on {', '.join(info['to_name'])}" for name, info in parsed_label_config.items()
    ]
    return "; ".join(described) or "no control tag"
