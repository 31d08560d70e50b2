"""Which of a task's data an object tag shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from yolo_backend.errors import MediaError
from yolo_backend.label_studio.labeling_config import Source
from yolo_backend.tasks import Task

if TYPE_CHECKING:
    pass


def task_value(task: Task, value: str) -> Any:
    """Return what an object tag shows for a task.

    Args:
        task: as Label Studio sends it.
        value: the tag's ``value``: ``$key`` of the task's data (``$a.b`` for nested data), else the data itself.

    Raises:
        MediaError: the task's data has no such key.
    """
    if not value.startswith("$"):
        return value
    data = task.get("data")
    key = value[1:]
    if isinstance(data, Mapping) and key in data:
        return data[key]
    for step in key.split("."):
        if not isinstance(data, Mapping) or step not in data:
            raise MediaError(f"the task's data has no {key!r}, which the labeling config shows")
        data = data[step]
    return data


def source_values(task: Task, source: Source) -> list[Any]:
    """Return what an object tag shows for a task: one value, or one for each page.

    Raises:
        MediaError: the task's data has no such key, or no list where pages are to be shown.
    """
    value = task_value(task, source.value)
    if not source.pages:
        return [value]
    if not isinstance(value, list):
        raise MediaError(f"the task's data {source.value[1:]!r} is not a list, which valueList shows")
    if not value:
        raise MediaError(f"the task's data {source.value[1:]!r} is an empty list")
    return value
