"""Small helpers for models: labeling configs, tasks, images."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cachetools import LRUCache
from PIL import Image

DATA_UNDEFINED_NAME = "$undefined$"
"""The key under which Label Studio keeps an imported file's URL while no labeling config names one."""

_URL = re.compile(r"(https?://|s3://|gs://|azure-blob://|/?data/(upload|local-files)/|/storage-data/)\S+")


def get_image_size(filepath: str | Path) -> tuple[int, int]:
    """Return width and height in pixels, as a browser shows the image: after its EXIF orientation.

    Browsers ignore EXIF in WebP; of a TIFF, Pillow has swapped the sides already.
    """
    with Image.open(filepath) as image:
        exif = Image.Exif()
        if image.format in ("JPEG", "MPO", "PNG", "AVIF") and (block := image.info.get("exif")):
            with suppress(Exception):  # of many kinds, for a damaged block, which browsers ignore
                exif.load(block)
        return image.size[::-1] if exif.get(0x0112) in (5, 6, 7, 8) else image.size


def get_single_tag_keys(
    parsed_label_config: Mapping[str, Any], control_type: str, object_type: str
) -> tuple[str, str, str, list[str]]:
    """Read a labeling config that has one control tag on one object tag.

    Returns:
        The control's name, the object's name, the key of the task's data that the object shows, and the labels.

    Raises:
        ValueError: The config is another one; the message lists its control tags.
    """
    if len(parsed_label_config) != 1:
        raise ValueError(f"Expected one control tag, <{control_type}>, and found {_described(parsed_label_config)}")
    ((from_name, info),) = parsed_label_config.items()
    if info["type"] != control_type or [shown["type"] for shown in info["inputs"]] != [object_type]:
        raise ValueError(
            f"Expected <{control_type}> on one <{object_type}>, and found {_described(parsed_label_config)}"
        )
    return from_name, info["to_name"][0], _data_key(info["inputs"][0]), info["labels"]


def get_first_tag_keys(
    parsed_label_config: Mapping[str, Any], control_type: str, object_type: str
) -> tuple[str, str, str]:
    """Find the first control tag of a type on an object tag of a type; the config may have further tags.

    Returns:
        The control's name, the object's name, and the key of the task's data that the object shows.

    Raises:
        ValueError: There is none; the message lists the control tags.
    """
    return first_tag(parsed_label_config, control_type, object_type)


def first_tag(
    parsed_label_config: Mapping[str, Any],
    control_type: str | Iterable[str],
    object_type: str | Iterable[str],
    name_filter: Callable[[str], bool] | None = None,
    to_name_filter: Callable[[str], bool] | None = None,
) -> tuple[str, str, str]:
    """Find the first control tag on an object tag; see ``LabelStudioMLBase.get_first_tag_occurence``."""
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
    return bool(annotations) and all(
        annotation.get("was_cancelled") or annotation.get("skipped") for annotation in annotations
    )


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


def label_map(
    parsed_label_config: Mapping[str, Any], tag_name: str, names: Iterable[str] | Mapping[Any, str]
) -> dict[str, str]:
    """Find the label of a control tag for each class of a model; see ``LabelStudioMLBase.build_label_map``."""
    if tag_name not in parsed_label_config:
        raise ValueError(f"The labeling config has no control tag {tag_name!r}; it has {sorted(parsed_label_config)}")
    labels = {}
    for label, attributes in parsed_label_config[tag_name]["labels_attrs"].items():
        listed = [name.strip() for name in attributes.get("predicted_values", "").split(",")]
        labels[label] = [name for name in listed if name] or [label, attributes.get("value", label)]
    return match_labels(labels, names.values() if isinstance(names, Mapping) else names)


def match_labels(labels: Mapping[str, Iterable[str]], names: Iterable[str]) -> dict[str, str]:
    """Find the label for each class of a model.

    Args:
        labels: For each label, the names of the classes that it stands for.
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
    """A dict with room for ``capacity`` entries; the least recently used one is dropped first. Safe across threads."""

    def __init__(self, capacity: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more, got {capacity}")
        self.capacity = capacity
        self.cache: LRUCache[Any, Any] = LRUCache(capacity)
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        """Return the entry and make it the most recently used one, or None where there is none."""
        with self._lock:
            return self.cache.get(key)

    def put(self, key: Any, item: Any) -> None:
        """Keep an entry."""
        with self._lock:
            self.cache[key] = item


def _data_key(shown: Mapping[str, Any]) -> str:
    return shown.get("value") or shown.get("valueList") or DATA_UNDEFINED_NAME


def _tags(types: set[str]) -> str:
    return " or ".join(f"<{tag}>" for tag in sorted(types))


def _described(parsed_label_config: Mapping[str, Any]) -> str:
    """List the control tags of a config for an error message."""
    described = [
        f"<{info['type']} name={name!r}> on {', '.join(info['to_name'])}" for name, info in parsed_label_config.items()
    ]
    return "; ".join(described) or "no control tag"
