"""A project in Label Studio: its tasks without predictions of a version, and posting those predictions in bulk."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from yolo_backend.errors import AnswerTooLargeError, ConfigError, LabelStudioAwayError, LabelStudioError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.tasks import Prediction, Task

logger = logging.getLogger(__name__)

IDS_PER_PAGE = 5000
IDS_PER_QUERY = 200  # they are in the address, which servers limit to 4 KB
TIMEOUT = 120.0  # seconds for a call: Label Studio counts all tasks of the project anew for each post
PATIENCE = 600.0  # seconds for which Label Studio may be away
LONGEST_PAUSE = 30.0  # seconds between two attempts

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which tasks of a project are to be predicted.

    Attributes:
        version: Tasks that have a prediction of this model version are skipped.
        view: The id of a Data Manager view, whose filters tasks must pass.
        only_unlabeled: Skip tasks with an annotation.
        shard: The number of the part, from 0, if the project is divided by task id.
        shards: The number of parts.
        limit: The most tasks.
    """

    version: str
    view: int | None = None
    only_unlabeled: bool = False
    shard: int = 0
    shards: int = 1
    limit: int | None = None

    @property
    def filters(self) -> list[dict[str, Any]]:
        """The filters that a task must pass, as the Data Manager writes them."""
        lacks = _filter("predictions_model_versions", "not_contains", "List", [self.version])
        return [lacks, _filter("total_annotations", "equal", "Number", 0)] if self.only_unlabeled else [lacks]


class Project:
    """One project. A call is repeated while Label Studio is away, but not for ever.

    Attributes:
        number: Its id.
        title: Its name.
        labeling_config: XML.
        tasks: The number of its tasks.
        stopping: Set it to end all waiting for Label Studio.
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
            project = label_studio.ask("GET", f"/api/projects/{number}")
        except LabelStudioError as error:
            if error.status != 404:
                raise
            raise ConfigError(f"there is no project {number} that this API key's user may see") from None
        self.title = str(project["title"])
        self.labeling_config = str(project["label_config"])
        self.tasks = int(project["task_number"])
        self._shown_version = project.get("model_version")

    # Reading

    def task_ids(self, selection: Selection) -> list[int]:
        """Return the ids of the selected tasks, in order.

        Raises:
            ConfigError: the view is not one of this project.
            LabelStudioError: Label Studio refuses or is away.
        """
        filters, conjunction = selection.filters, "and"
        if selection.view is not None:
            of_view, conjunction = self._view(selection.view)
            # Filters that "or" joins can't be narrowed; `lacking` checks each task again.
            filters = of_view if conjunction == "or" else [*of_view, *filters]
        ids: dict[int, None] = {}
        page = 0
        while True:
            page += 1
            parameters = {"include": "id", "page": page, "page_size": IDS_PER_PAGE}
            try:
                answer = self._list({"filters": {"conjunction": conjunction, "items": filters}}, parameters)
            except LabelStudioError as error:
                # Its total counts a task several times if several of its annotations pass a filter.
                if page > 1 and error.status == 404:
                    break
                raise
            ids.update((task["id"], None) for task in answer["tasks"])
            if not answer["tasks"] or len(ids) >= answer["total"]:
                break
        in_shard = [number for number in ids if number % selection.shards == selection.shard]
        return in_shard[: selection.limit]

    def lacking(self, selection: Selection, ids: Sequence[int]) -> list[Task]:
        """Return the tasks that still lack a prediction, with their data and the number of their predictions."""
        tasks: list[Task] = []
        for batch in batches(ids, IDS_PER_QUERY):
            query = {
                "filters": {"conjunction": "and", "items": selection.filters},
                "selectedItems": {"all": False, "included": batch},
            }
            try:
                answer = self._list(query, {"include": "id,data,total_predictions", "page_size": IDS_PER_QUERY})
            except AnswerTooLargeError:
                if len(batch) == 1:
                    raise
                # Tasks with much data, such as pictures.
                middle = len(batch) // 2
                tasks += [*self.lacking(selection, batch[:middle]), *self.lacking(selection, batch[middle:])]
            else:
                tasks += answer["tasks"]
        return tasks

    def _view(self, number: int) -> tuple[list[dict[str, Any]], str]:
        try:
            view = self._get(f"/api/dm/views/{number}?project={self.number}")
        except LabelStudioError as error:
            if error.status != 404:
                raise
            views = self._get(f"/api/dm/views?project={self.number}")
            known = [f"{view['id']} ({view['data'].get('title', 'without a title')})" for view in views]
            raise ConfigError(
                f"project {self.number} has no Data Manager view {number}; it has {', '.join(known) or 'none'}"
            ) from None
        filters = view["data"].get("filters") or {}
        items = filters.get("items") or []
        return items, "or" if filters.get("conjunction") == "or" and len(items) > 1 else "and"

    def _list(self, query: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        query_string = {
            "project": self.number,
            "query": json.dumps({**query, "ordering": ["tasks:id"]}, separators=(",", ":")),
            "fields": "task_only",
            "resolve_uri": "false",
            # Otherwise Label Studio may request predictions from an ML backend for every task that it lists.
            "review": "true",
            **parameters,
        }
        return self._get(f"/api/tasks?{urlencode(query_string)}")

    def _get(self, path: str) -> Any:
        return self._retrying()(self._label_studio.ask, "GET", path, timeout=TIMEOUT)

    def _retrying(self) -> Retrying:
        """Return what repeats a call while Label Studio is away, with growing pauses, until patience or the run ends."""

        def give_up(state: RetryCallState) -> None:
            assert state.outcome is not None
            error = state.outcome.exception()
            assert isinstance(error, LabelStudioAwayError)
            if self.stopping.is_set():
                raise error
            raise _OutOfPatienceError(f"{error}, for {state.seconds_since_start:.0f} s", status=error.status)

        def log(state: RetryCallState) -> None:
            assert state.outcome is not None
            logger.warning("%s; the next attempt is in %.0f s", state.outcome.exception(), state.upcoming_sleep)

        return Retrying(
            # A call inside of the call may have been repeated already.
            retry=retry_if_exception_type(LabelStudioAwayError) & retry_if_not_exception_type(_OutOfPatienceError),
            stop=stop_after_delay(self._patience) | stop_when_event_set(self.stopping),
            wait=wait_exponential(max=LONGEST_PAUSE),
            sleep=sleep_using_event(self.stopping),
            before_sleep=log,
            retry_error_callback=give_up,
        )

    # Posting

    def post(self, selection: Selection, predictions: Mapping[int, Prediction]) -> dict[int, str]:
        """Post predictions by the ids of their tasks, so that each task has one of this version, whatever happens.

        Label Studio's predictions are checked right before and after: a process that was killed, a post whose answer got
        lost, or somebody's click may have added one. Of two the older one stays.

        Returns:
            Why Label Studio refuses predictions, by the ids of their tasks.

        Raises:
            LabelStudioError: it refuses all of them, or is away for too long.
        """
        return self._retrying()(self._post_lacking, selection, predictions)

    def _post_lacking(self, selection: Selection, predictions: Mapping[int, Prediction]) -> dict[int, str]:
        tasks = self.lacking(selection, list(predictions))
        if not tasks:
            return {}
        bodies = [predictions[task["id"]].for_api(task["id"]) for task in tasks]
        try:
            created = self._post(f"/api/projects/{self.number}/import/predictions", bodies)["created"]
        except LabelStudioAwayError:
            raise
        except LabelStudioError as error:
            if error.status in (401, 403, 404):
                raise
            if len(tasks) == 1:
                return {tasks[0]["id"]: str(error)}
            # One of them can't be taken, or they are too many at once.
            middle = len(tasks) // 2
            halves = (
                {task["id"]: predictions[task["id"]] for task in half} for half in (tasks[:middle], tasks[middle:])
            )
            return {task: reason for half in halves for task, reason in self.post(selection, half).items()}
        refused = self._retrying()(self._post_singly, selection, bodies) if created < len(bodies) else {}
        self._remove_surplus(selection, tasks)
        return refused

    def show(self, selection: Selection) -> bool:
        """Let annotators start from these predictions, unless the project shows others; Label Studio's own import does so.

        Returns:
            Whether the project's setting was changed.
        """
        if self._shown_version:
            return False
        try:
            self._label_studio.ask("PATCH", f"/api/projects/{self.number}", {"model_version": selection.version})
        except LabelStudioError as error:
            logger.warning("Choose %s in Settings > Annotation to show the predictions: %s", selection.version, error)
            return False
        return True

    def _post_singly(self, selection: Selection, bodies: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """Post the predictions that are still missing: of a bulk post Label Studio leaves out wrong ones in silence."""
        refused: dict[int, str] = {}
        by_task = {body["task"]: body for body in bodies}
        for task in self.lacking(selection, list(by_task)):
            try:
                self._post("/api/predictions/", by_task[task["id"]])
            except LabelStudioAwayError:
                raise
            except LabelStudioError as error:
                refused[task["id"]] = str(error)
        return refused

    def _remove_surplus(self, selection: Selection, before: Sequence[Task]) -> None:
        """Keep one prediction of this version for each task, if somebody else posted at the same moment."""
        expected = {task["id"]: task["total_predictions"] + 1 for task in before}
        for batch in batches(list(expected), IDS_PER_QUERY):
            query = {"selectedItems": {"all": False, "included": batch}}
            for task in self._list(query, {"include": "id,total_predictions", "page_size": IDS_PER_QUERY})["tasks"]:
                if task["total_predictions"] > expected[task["id"]]:
                    saved = self._get(f"/api/predictions/?task={task['id']}")
                    ours = sorted(
                        prediction["id"] for prediction in saved if prediction["model_version"] == selection.version
                    )
                    for surplus in ours[1:]:
                        self._retrying()(self._delete, surplus)

    def _delete(self, prediction: int) -> None:
        try:
            self._label_studio.ask("DELETE", f"/api/predictions/{prediction}/", timeout=TIMEOUT)
        except LabelStudioError as error:
            if error.status != 404:  # another process did the same
                raise

    def _post(self, path: str, body: object) -> Any:
        return self._label_studio.ask("POST", path, body, timeout=TIMEOUT)


class _OutOfPatienceError(LabelStudioAwayError):
    """Label Studio has been away for too long."""


def batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Divide ``items`` into batches of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _filter(field: str, operator: str, kind: str, value: object) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
