"""A project in Label Studio: which of its tasks lack predictions of a version, and posting those in bulk."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from yolo_backend.errors import ConfigError, LabelStudioAwayError, LabelStudioError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.tasks import Prediction, Task, with_unique_ids

logger = logging.getLogger(__name__)

LISTED = 5000  # ids that are asked for at once
ASKED = 200  # tasks that are asked for by their ids: these are in the address, which servers limit to 4 KB
TIMEOUT = 120.0  # seconds for a call: Label Studio counts all tasks of the project anew for each post
PATIENCE = 600.0  # seconds for which Label Studio may be away
LONGEST_PAUSE = 30.0  # seconds between two tries

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which tasks of a project are to be predicted.

    Attributes:
        version: tasks that have a prediction of this model version are left alone.
        view: a view of the Data Manager, whose filters tasks must pass.
        only_unlabeled: only tasks without an annotation.
        shard: of so many equal parts of the project, by task id, which one, counted from 0.
        shards: how many parts.
        limit: at most so many tasks.
    """

    version: str
    view: int | None = None
    only_unlabeled: bool = False
    shard: int = 0
    shards: int = 1
    limit: int | None = None

    @property
    def filters(self) -> list[dict[str, Any]]:
        """What a task must pass, as the Data Manager writes it."""
        lacks = _filter("predictions_model_versions", "not_contains", "List", [self.version])
        return [lacks, _filter("total_annotations", "equal", "Number", 0)] if self.only_unlabeled else [lacks]


class Project:
    """One project. What Label Studio can't do now is tried again until it has been away for too long.

    Attributes:
        number: its id.
        title: its name.
        labeling_config: XML.
        tasks: how many it has.
        stopping: set when waiting for Label Studio is to end.
    """

    def __init__(self, label_studio: LabelStudio, number: int, *, patience: float = PATIENCE) -> None:
        """Read the project.

        Raises:
            ConfigError: there is none, or not for this user.
            LabelStudioError: Label Studio refuses or is away.
        """
        self.number = number
        self.stopping = threading.Event()
        self._label_studio = label_studio
        self._patience = patience
        try:
            # Without patience: the address may be wrong.
            said = label_studio.ask("GET", f"/api/projects/{number}")
        except LabelStudioError as error:
            if error.status != 404:
                raise
            raise ConfigError(f"there is no project {number} that this API key's user may see") from None
        self.title = str(said["title"])
        self.labeling_config = str(said["label_config"])
        self.tasks = int(said["task_number"])
        self._shows = said.get("model_version")

    # Reading

    def task_ids(self, selection: Selection) -> list[int]:
        """Return the ids of the tasks that are to be predicted, in order.

        Raises:
            ConfigError: the view is not one of this project.
            LabelStudioError: Label Studio refuses or is away.
        """
        filters, conjunction = selection.filters, "and"
        if selection.view is not None:
            seen, conjunction = self._view(selection.view)
            # What "or" joins can't be narrowed; `lacking` looks at each task again.
            filters = seen if conjunction == "or" else [*seen, *filters]
        ids: dict[int, None] = {}
        page = 0
        while True:
            page += 1
            asked = {"include": "id", "page": page, "page_size": LISTED}
            try:
                answer = self._list({"filters": {"conjunction": conjunction, "items": filters}}, asked)
            except LabelStudioError as error:
                # It counts a task several times where several of its annotations pass a filter.
                if page > 1 and error.status == 404:
                    break
                raise
            ids.update((task["id"], None) for task in answer["tasks"])
            if not answer["tasks"] or len(ids) >= answer["total"]:
                break
        mine = [number for number in ids if number % selection.shards == selection.shard]
        return mine[: selection.limit]

    def lacking(self, selection: Selection, ids: Sequence[int]) -> list[Task]:
        """Return those tasks that are still to be predicted, with their data and how many predictions they have."""
        tasks: list[Task] = []
        for some in parts(ids, ASKED):
            query = {
                "filters": {"conjunction": "and", "items": selection.filters},
                "selectedItems": {"all": False, "included": some},
            }
            tasks += self._list(query, {"include": "id,data,total_predictions", "page_size": ASKED})["tasks"]
        return tasks

    def _view(self, number: int) -> tuple[list[dict[str, Any]], str]:
        try:
            view = self._get(f"/api/dm/views/{number}?project={self.number}")
        except LabelStudioError as error:
            if error.status != 404:
                raise
            views = self._get(f"/api/dm/views?project={self.number}")
            there = [f"{one['id']} ({one['data'].get('title', 'without a title')})" for one in views]
            raise ConfigError(
                f"project {self.number} has no Data Manager view {number}; it has {', '.join(there) or 'none'}"
            ) from None
        filters = view["data"].get("filters") or {}
        items = filters.get("items") or []
        return items, "or" if filters.get("conjunction") == "or" and len(items) > 1 else "and"

    def _list(self, query: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        asked = {
            "project": self.number,
            "query": json.dumps({**query, "ordering": ["tasks:id"]}, separators=(",", ":")),
            "fields": "task_only",
            "resolve_uri": "false",
            # Else Label Studio may ask an ML backend for the predictions of every task that it lists.
            "review": "true",
            **parameters,
        }
        return self._get(f"/api/tasks?{urlencode(asked)}")

    def _get(self, path: str) -> Any:
        patience = self._new_patience()
        while True:
            try:
                return self._label_studio.ask("GET", path, timeout=TIMEOUT)
            except LabelStudioAwayError as error:
                patience.wait(error)

    def _new_patience(self) -> _Patience:
        return _Patience(self._patience, self.stopping)

    # Posting

    def post(self, selection: Selection, predictions: Mapping[int, Prediction]) -> dict[int, str]:
        """Post predictions by the ids of their tasks, so that each task has one of this version, whatever happens.

        What Label Studio holds is looked at right before and after: a process that was killed, a post whose answer got
        lost, or somebody's click may have brought a prediction. Of two the older one stays.

        Returns:
            Why Label Studio refuses predictions, by the ids of their tasks.

        Raises:
            LabelStudioError: it refuses all of them, or is away for too long.
        """
        patience = self._new_patience()
        while True:
            tasks = self.lacking(selection, list(predictions))
            if not tasks:
                return {}
            bodies = [self._body(task, predictions[task["id"]]) for task in tasks]
            try:
                created = self._post(f"/api/projects/{self.number}/import/predictions", bodies)["created"]
            except LabelStudioAwayError as error:
                patience.wait(error)
                continue
            except LabelStudioError as error:
                if error.status in (401, 403, 404):
                    raise
                if len(tasks) == 1:
                    return {tasks[0]["id"]: str(error)}
                # One that can't be taken, or too much at once.
                middle = len(tasks) // 2
                halves = (
                    {task["id"]: predictions[task["id"]] for task in half} for half in (tasks[:middle], tasks[middle:])
                )
                return {task: reason for half in halves for task, reason in self.post(selection, half).items()}
            refused = self._post_singly(selection, bodies) if created < len(bodies) else {}
            self._remove_surplus(selection, tasks)
            return refused

    def show(self, selection: Selection) -> bool:
        """Let people who label begin with these predictions, if the project shows none; Label Studio's own import does so.

        Returns:
            Whether that was changed.
        """
        if self._shows:
            return False
        try:
            self._label_studio.ask("PATCH", f"/api/projects/{self.number}", {"model_version": selection.version})
        except LabelStudioError as error:
            logger.warning("Choose %s in Settings > Annotation to show the predictions: %s", selection.version, error)
            return False
        return True

    def _post_singly(self, selection: Selection, bodies: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """Post what Label Studio passed over: in bulk it leaves out in silence what it takes for wrong."""
        refused: dict[int, str] = {}
        by_task = {body["task"]: body for body in bodies}
        patience = self._new_patience()
        while True:
            left = [task["id"] for task in self.lacking(selection, list(by_task)) if task["id"] not in refused]
            try:
                for task in left:
                    try:
                        self._post("/api/predictions/", by_task[task])
                    except LabelStudioAwayError:
                        raise
                    except LabelStudioError as error:
                        refused[task] = str(error)
            except LabelStudioAwayError as error:
                patience.wait(error)
            else:
                return refused

    def _remove_surplus(self, selection: Selection, before: Sequence[Task]) -> None:
        """Look whether somebody posted at the same moment, and keep one prediction of this version for each task."""
        expected = {task["id"]: task["total_predictions"] + 1 for task in before}
        for some in parts(list(expected), ASKED):
            query = {"selectedItems": {"all": False, "included": some}}
            for task in self._list(query, {"include": "id,total_predictions", "page_size": ASKED})["tasks"]:
                if task["total_predictions"] > expected[task["id"]]:
                    held = self._get(f"/api/predictions/?task={task['id']}")
                    ours = sorted(one["id"] for one in held if one["model_version"] == selection.version)
                    for surplus in ours[1:]:
                        self._delete(surplus)

    def _delete(self, prediction: int) -> None:
        patience = self._new_patience()
        while True:
            try:
                self._label_studio.ask("DELETE", f"/api/predictions/{prediction}/", timeout=TIMEOUT)
            except LabelStudioAwayError as error:
                patience.wait(error)
            except LabelStudioError as error:
                if error.status != 404:  # another process did the same
                    raise
                return
            else:
                return

    def _post(self, path: str, body: object) -> Any:
        return self._label_studio.ask("POST", path, body, timeout=TIMEOUT)

    @staticmethod
    def _body(task: Task, prediction: Prediction) -> dict[str, Any]:
        return {
            "task": task["id"],
            "result": with_unique_ids(prediction, str(task["id"])).regions,
            "score": prediction.score,
            "model_version": prediction.model_version,
        }


class _Patience:
    """Waits between the tries of one call, longer each time, and not for ever."""

    def __init__(self, seconds: float, stopping: threading.Event) -> None:
        self._seconds = seconds
        self._stopping = stopping
        self._since: float | None = None

    def wait(self, error: LabelStudioAwayError) -> None:
        """Wait until the next try.

        Raises:
            LabelStudioAwayError: Label Studio has been away for too long, or waiting is to end.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        failing = now - self._since
        if failing > self._seconds:
            raise LabelStudioAwayError(f"{error}, for {failing:.0f} s", status=error.status)
        pause = min(LONGEST_PAUSE, max(1.0, failing))
        logger.warning("%s; the next try is in %.0f s", error, pause)
        if self._stopping.wait(pause):
            raise error


def parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Return ``items`` in parts of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _filter(field: str, operator: str, kind: str, value: object) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
