"""Which of a task's data a tag shows, as Label Studio's editor reads its ``value``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolo_backend.errors import AbsentMediaError, MediaError
from yolo_backend.tasks import Task

MAX_VARIABLES = 16
"""Variables in one ``value``: each may be as long as the whole task, and the text around them is put together in memory."""

# The editor's own: ASCII letters, and braces that mean nothing to it.
_VARIABLE = re.compile(r"\$[\w\[\].{}]+", re.ASCII)
_STEP = re.compile(
    r"\[([^\]]*)\]|\[([^\]]+)$|([^.\[]+)|^\."
)  # what is in brackets, the last may be left open, or plain
_MOST_DIGITS = 15  # of an index
_UNDEFINED = object()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where in a task the data of an object tag is.

    ``value`` is as the tag has it, see `parse_value`; with ``pages`` each item of the list there is a page.
    """

    value: str
    pages: bool = False


def has_variable(value: str) -> bool:
    """Tell whether a ``value`` depends on the task."""
    return _VARIABLE.search(value) is not None


def is_variable(value: str) -> bool:
    """Tell whether a ``value`` is one variable and nothing else, such as ``$image``: then it can be of any type."""
    return _VARIABLE.fullmatch(value) is not None


def parse_value(value: str, data: object) -> Any:
    """Return what the editor makes of a ``value``.

    Args:
        value: a variable (``$image``, ``$photo.url``, ``$photos[0].url``), which gives what the task has there, of any type;
            text with variables in it (``https://host/$file``), which gives text; or text without, which stays.
        data: of the task. A key that is written like a path (``photo.url``) wins over the path.

    Raises:
        AbsentMediaError: the data has no such key, or in text nothing there.
        MediaError: it has something in text that can't be put into it, or the text has too many variables.
    """
    if is_variable(value):
        return _look_up(data, value[1:])
    if len(_VARIABLE.findall(value)) > MAX_VARIABLES:
        raise MediaError(f"the labeling config has a value with more than {MAX_VARIABLES} variables: {value[:60]!r}…")
    return _VARIABLE.sub(lambda variable: _as_text(_look_up(data, variable[0][1:]), variable[0]), value)


def source_values(task: Task, source: Source) -> list[Any]:
    """Return what an object tag shows for a task: one value, or one for each page.

    As in the editor a ``valueList`` of something else than a list is a single page, and of a list in ``value`` the first is
    shown.

    Raises:
        AbsentMediaError: the task's data has no such key, or an empty list there.
        MediaError: see `parse_value`.
    """
    value = parse_value(source.value, task.get("data"))
    if not isinstance(value, list):
        return [value]
    if not value:
        raise AbsentMediaError(f"the task's data {source.value[1:]!r} is an empty list")
    return value if source.pages else value[:1]


def _look_up(data: object, path: str) -> Any:
    found = _property(data, path)
    if found is _UNDEFINED:
        found = data
        for step in _STEP.findall(path):
            found = _property(found, "".join(step))
    if found is _UNDEFINED:
        raise AbsentMediaError(f"the task's data has no {path!r}, which the labeling config shows")
    return found


def _property(value: object, key: str) -> Any:
    """Return what JavaScript has at a key of something that came as JSON."""
    if isinstance(value, Mapping):
        return value.get(key, _UNDEFINED)
    if isinstance(value, (list, str)):
        if key == "length":
            return len(value)
        if key.isdecimal() and len(key) <= _MOST_DIGITS and key == str(int(key)) and int(key) < len(value):
            return value[int(key)]
    return _UNDEFINED


def _as_text(value: object, variable: str) -> str:
    """Return a value as JavaScript puts it into text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(int(value)) if isinstance(value, int) or value.is_integer() else str(value)
    if isinstance(value, list) and not any(isinstance(item, (list, Mapping)) for item in value):
        return ",".join("" if item is None else _as_text(item, variable) for item in value)
    if value is None:
        raise AbsentMediaError(
            f"the task's data has nothing in {variable}, which the labeling config puts into an address"
        )
    raise MediaError(f"the task's data has no text in {variable}, which the labeling config puts into an address")
