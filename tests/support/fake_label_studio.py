"""A Label Studio in memory, for what a real one can't be made to do at will: lost answers, clicks at the same moment."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.conftest import Asked, WebServer, answer
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.settings import Settings

CONFIG = "<View/>"
Fault = Callable[[BaseHTTPRequestHandler, list[dict[str, Any]]], bool]


class FakeLabelStudio:
    """One project, number 1, with tasks from id 1 on.

    Attributes:
        predictions: all that are saved, the oldest first.
        faults: what happens to the next posts, one each: told the predictions, they say whether that was the answer.
        wrong: tasks whose predictions it takes for wrong.
        posts: sizes of the bulk posts that arrived.
        times: how often it lists each task, as where several annotations of a task pass a filter.
    """

    def __init__(self, web: WebServer, tasks: int) -> None:
        self.ids = list(range(1, tasks + 1))
        self.predictions: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.wrong: set[int] = set()
        self.posts: list[int] = []
        self.times = 1
        self._numbers = itertools.count(1)
        self.label_studio = LabelStudio.from_settings(Settings(label_studio_url=web.url, label_studio_api_key="key"))
        web.routes["/api/projects/1"] = self._project
        web.routes["/api/tasks"] = self._tasks
        web.routes["/api/projects/1/import/predictions"] = self._import
        web.routes["/api/predictions/"] = self._predictions
        self._web = web

    def save(self, task: int, version: str, result: object = None) -> None:
        number = next(self._numbers)
        self.predictions.append({"id": number, "task": task, "model_version": version, "result": result})
        self._web.routes[f"/api/predictions/{number}/"] = lambda handler, _: self._delete(handler, number)

    def versions(self, task: int) -> list[str]:
        return [one["model_version"] for one in self.predictions if one["task"] == task]

    def _delete(self, handler: BaseHTTPRequestHandler, number: int) -> None:
        self.predictions = [one for one in self.predictions if one["id"] != number]
        answer(handler, status=204)

    def _project(self, handler: BaseHTTPRequestHandler, _: Asked) -> None:
        reply(handler, {"title": "Fake", "label_config": CONFIG, "task_number": len(self.ids)})

    def _tasks(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(asked.target).query).items()}
        query = json.loads(parameters["query"])
        ids = query.get("selectedItems", {}).get("included", self.ids)
        items = query.get("filters", {}).get("items", [])
        lacks = [item["value"][0] for item in items if item["operator"] == "not_contains"]
        ids = [task for task in self.ids if task in ids and not set(lacks) & set(self.versions(task))]
        if "page" in parameters:
            ids = [task for task in ids for _ in range(self.times)]
        size = int(parameters["page_size"])
        start = (int(parameters.get("page", 1)) - 1) * size
        if start > 0 and start >= len(ids):
            return reply(handler, {"detail": "Invalid page."}, status=404)
        known = [
            {"id": task, "data": {"image": f"{task}.jpg"}, "total_predictions": len(self.versions(task))}
            for task in ids
        ]
        wanted = parameters["include"].split(",")
        tasks = [{key: task[key] for key in wanted} for task in known[start : start + size]]
        return reply(handler, {"total": len(ids), "tasks": tasks})

    def _import(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        sent = json.loads(asked.body)
        self.posts.append(len(sent))
        if self.faults and self.faults.pop(0)(handler, sent):
            return
        right = [one for one in sent if one["task"] not in self.wrong]
        self.save_all(right)
        reply(handler, {"created": len(right)}, status=201)

    def save_all(self, sent: list[dict[str, Any]]) -> None:
        for one in sent:
            self.save(one["task"], one["model_version"], one["result"])

    def _predictions(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if asked.method == "GET":
            task = int(parse_qs(urlsplit(asked.target).query)["task"][0])
            return reply(handler, [one for one in self.predictions if one["task"] == task])
        sent = json.loads(asked.body)
        if sent["task"] in self.wrong:
            return reply(handler, {"validation_errors": {"result": ["is wrong"]}}, status=400)
        self.save_all([sent])
        return reply(handler, {}, status=201)


def reply(handler: BaseHTTPRequestHandler, body: object, *, status: int = 200) -> None:
    answer(handler, json.dumps(body).encode(), status=status)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
