"""JSON for the model version, which is made for thousands of labels in a hundred tags as well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


class Json(str):
    """Text that is JSON already."""

    __slots__ = ()


def canonical(state: object) -> str:
    """Return what ``json.dumps(state, sort_keys=True)`` does, where parts of ``state`` may be JSON already."""
    if isinstance(state, Json):
        return state
    if isinstance(state, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {canonical(state[key])}" for key in sorted(state)) + "}"
    return json.dumps(state, sort_keys=True)


def around_threshold(state: Mapping[str, Any]) -> tuple[str, str]:
    """Return an object's JSON up to its threshold, and from there on: it is often the same but for this."""
    before = json.dumps({key: state[key] for key in sorted(state) if key < "threshold"})
    after = json.dumps({key: state[key] for key in sorted(state) if key > "threshold"})
    return f'{before[:-1]}, "threshold": ', f", {after[1:]}"


def with_thresholds(objects: Iterable[tuple[str, str]], thresholds: Iterable[float]) -> Json:
    """Return the list of objects with these thresholds; see `around_threshold`."""
    items = (f"{before}{threshold!r}{after}" for (before, after), threshold in zip(objects, thresholds, strict=True))
    return Json(f"[{', '.join(items)}]")
