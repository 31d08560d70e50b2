"""The part of a task's data that an object tag shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_backend.errors import AbsentMediaError, MediaError
from yolo_backend.label_studio.labeling_config import Source
from yolo_backend.tasks import Task


def task_value(task: Task, value: str) -> Any:
    """Return what an object tag shows for a task.

    Args:
        task: As Label Studio sends it.
        value: The tag's ``value``: ``$key`` of the task's data (``$a.b`` for nested data), else the data itself.

    Raises:
        AbsentMediaError: the task's data has no such key.
    """
    if not value.startswith("$"):
        return value
    data = task.get("data")
    key = value[1:]
    if isinstance(data, Mapping) and key in data:
        return data[key]
    for step in key.split("."):
        if not isinstance(data, Mapping) or step not in data:
            raise AbsentMediaError(f"the task's data has no {key!r}, which the labeling config shows")
        data = data[step]
    return data


def source_values(task: Task, source: Source) -> list[Any]:
    """Return what an object tag shows for a task: one value, or one for each page.

    Raises:
        AbsentMediaError: the task's data has no such key, or nothing there.
        MediaError: it has no list where pages are to be shown.
    """
    value = task_value(task, source.value)
    if not source.pages:
        return [value]
    if value is None or value == "":
        raise AbsentMediaError(f"the task's data {source.value[1:]!r} is empty")
    if not isinstance(value, list):
        raise MediaError(f"the task's data {source.value[1:]!r} is not a list, which valueList shows")
    if not value:
        raise AbsentMediaError(f"the task's data {source.value[1:]!r} is an empty list")
    return value
