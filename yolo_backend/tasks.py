"""Tasks, regions and predictions, as all rooms of the service know them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Task = Mapping[str, Any]
"""A task as Label Studio sends it: its ``id``, its ``data``, and whatever else."""
Region = dict[str, Any]
"""One region as Label Studio's JSON has it; its ``id`` is unique within the task until the answer is put together."""

PARTIAL = "-partial"
"""Ends the model version of a prediction without the pages or images that failed: Label Studio asks again for tasks whose
prediction has another version than the model's."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model found on one task.

    Attributes:
        regions: their ids are unique within the task; see ``with_unique_ids``.
        model_version: of the weights that were really used; another one where parts of the task failed, see `PARTIAL`.
        is_complete: no part of the task failed.
    """

    regions: list[Region]
    model_version: str
    is_complete: bool = True

    @property
    def score(self) -> float:
        """The mean score of the regions, from 0 to 1; 0 where there are none."""
        scores = [region["score"] for region in self.regions]
        return round(sum(scores) / len(scores), 4) if scores else 0.0

    def for_api(self, task: int) -> dict[str, Any]:
        """Return what Label Studio's API is sent to save this for a task."""
        return {
            "task": task,
            "result": with_unique_ids(self, str(task)).regions,
            "score": self.score,
            "model_version": self.model_version,
        }

    def packed(self) -> bytes:
        """Return this in as few bytes as can be had quickly: there may be thousands to keep, and masks are large."""
        return zlib.compress(json.dumps([self.regions, self.model_version, self.is_complete]).encode(), level=1)

    @classmethod
    def unpack(cls, content: bytes) -> Prediction:
        """Return the prediction that was ``packed``."""
        regions, version, is_complete = json.loads(zlib.decompress(content))
        return cls(regions=regions, model_version=version, is_complete=is_complete)


def task_keys(tasks: Sequence[Task]) -> list[str]:
    """Return a key for each task: its id, so that it is the same in any request; unique also where ids are missing."""
    keys: dict[str, None] = {}
    for index, task in enumerate(tasks):
        name = str(task.get("id"))
        key, number = name, index
        while key in keys or (task.get("id") is None and key == name):
            key, number = f"{name}/{number}", number + 1
        keys[key] = None
    return list(keys)


def with_unique_ids(prediction: Prediction, task: str) -> Prediction:
    """Make the ids of a task's regions unique in the whole answer, and the same whenever it is asked for again."""

    def unique(region: Region) -> Region:
        return region | {
            key: hashlib.sha256(f"{task}/{region[key]}".encode(errors="surrogatepass")).hexdigest()[:10]
            for key in ("id", "parentID")
            if key in region
        }

    return replace(prediction, regions=[unique(region) for region in prediction.regions])


def on_page(regions: Iterable[Region], page: int) -> list[Region]:
    """Say which page of a ``valueList`` regions are on, counted from 0."""
    paged = [{**region, "item_index": page} for region in regions]
    for region in paged:
        for key in ("id", "parentID"):
            if key in region:
                region[key] = f"{region[key]}/{page}"
    return paged
