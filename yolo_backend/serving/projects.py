"""The projects that have connected: which plan each has, and its models, which are loaded before they are needed."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

from cachetools import LRUCache

from yolo_backend.observability.request_id import ThreadPool
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import Plan

logger = logging.getLogger(__name__)

PROJECTS = 200  # that are remembered


class Projects:
    """Remembers plans and warms up their models in the background, one after another. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPool(1, thread_name_prefix="warm-up")
        self._lock = threading.Lock()
        self._plans: LRUCache[str, Plan] = LRUCache(PROJECTS)
        self._warm: LRUCache[str, None] = LRUCache(PROJECTS)  # model versions

    def notice(self, project: str | None, plan: Plan) -> None:
        """Remember which plan a project has."""
        with self._lock:
            self._plans[str(project)] = plan

    def warm_up(self, plan: Plan) -> None:
        """Load the models of a plan in the background, once for each version of it."""
        version = self._engine.model_version(plan)
        with self._lock:
            if version in self._warm:
                return
            self._warm[version] = None

        def warm() -> None:
            try:
                self._engine.preparer.warm_up(plan)
            except Exception:
                logger.exception("Warming up %s failed", version)

        self._thread.submit(warm)

    def fetch_weights(self, plan: Plan) -> Future[None]:
        """Fetch in the background what weights of a plan aren't there and can be fetched."""
        return self._thread.submit(self._engine.preparer.fetch_weights, plan)

    def details(self) -> dict[str, Any]:
        """Return what `/status` tells the operator: the model version of each project, and what is wrong with it."""
        with self._lock:
            plans = dict(self._plans)
        return {
            name: {"model_version": self._engine.model_version(plan), "problems": self._engine.preparer.problems(plan)}
            for name, plan in plans.items()
        }
