"""Predictions computed on a Ray cluster: an actor on each node, or for each GPU, that loads the weights once."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from yolo_backend.batch.workers import LocalWorkers
from yolo_backend.engine import Prediction, Task
from yolo_backend.errors import BackendError, ConfigError, WorkersLostError
from yolo_backend.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings, load_settings, settings_environment

logger = logging.getLogger(__name__)

AT_ONCE = 2  # calls to an actor: while one computes, the other fetches
REVIVAL = 120.0  # seconds for which a lost actor may come back: Ray starts it anew where there is room

Outcomes = list[tuple[int, Prediction | BackendError]]


class Actor:
    """What runs on a node. Ray starts it anew if its process dies."""

    def __init__(self, environment: dict[str, str], labeling_config: str) -> None:
        # Not as Ray's own environment, which its dashboard shows: there is a key in it.
        os.environ.update(environment)
        self._labeling_config = labeling_config
        self._lock = threading.Lock()
        self._loaded: LocalWorkers | None = None

    def version(self) -> str:
        """Load the models, and return the version of their predictions."""
        return self._workers().version

    def compute(self, tasks: Sequence[Task]) -> Outcomes:
        """Predict tasks."""
        return [
            (index, outcome if isinstance(outcome, (Prediction, BackendError)) else _sendable(outcome))
            for index, outcome in self._workers().compute(tasks)
        ]

    def _workers(self) -> LocalWorkers:
        with self._lock:
            if self._loaded is None:
                self._loaded = LocalWorkers(load_settings(), self._labeling_config)
            return self._loaded


class RayWorkers:
    """The actors of a cluster. What a lost one had in hand is done by the others."""

    def __init__(self, address: str, settings: Settings, labeling_config: str) -> None:
        """Start an actor on each node.

        Args:
            address: of the cluster, as `ray.init` takes it.
            settings: of this process.
            labeling_config: XML.

        Raises:
            ConfigError: Ray isn't installed, there is no such cluster, or nothing can be filled in.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise ConfigError("--ray needs Ray: pip install -r requirements-ray.txt") from None
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray: Any = ray
        _look_for(address)
        try:
            # The nodes have this project where it is here: they run the same image.
            ray.init(
                address=address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": str(PROJECT_DIR)}},
            )
        except (ConnectionError, ValueError) as error:
            raise ConfigError(f"no Ray cluster at {address}: {error}") from None
        made = ray.remote(Actor)
        environment = settings_environment()
        actors: list[Any] = []
        for node in ray.nodes():
            gpus = int(node["Resources"].get("GPU", 0))
            if not node["Alive"] or not node["Resources"].get("CPU"):
                continue
            # Elsewhere, if the node is lost and another has room.
            place = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=True)
            for _ in range(gpus or 1):
                options = made.options(
                    num_cpus=0,
                    num_gpus=1 if gpus else 0,
                    max_restarts=-1,
                    max_concurrency=AT_ONCE,
                    scheduling_strategy=place,
                )
                actors.append(options.remote(environment, labeling_config))
        if not actors:
            raise ConfigError(f"the Ray cluster at {address} has no node with a CPU for its work")
        versions = set(self._get([actor.version.remote() for actor in actors]))
        if len(versions) > 1:
            raise ConfigError(
                f"the nodes would give predictions of different versions ({', '.join(sorted(versions))}): "
                "they need the same weights and settings"
            )
        (self.version,) = versions
        self.lanes = AT_ONCE * len(actors)
        videos = any(one.object_tag == "Video" for one in make_plan(labeling_config, settings).passes)
        self.chunk = 1 if videos else 16
        self._left = self.lanes
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for actor in actors * AT_ONCE:
            self._idle.put(actor)

    def compute(self, tasks: Sequence[Task]) -> Iterable[tuple[int, Prediction | Exception]]:
        """See `Workers`.

        Raises:
            WorkersLostError: no actor is left.
        """
        while True:
            actor = self._idle.get()
            if actor is None:
                self._idle.put(None)  # for whoever waits as well
                raise WorkersLostError("no node of the Ray cluster is left; the same command goes on from here")
            try:
                outcomes: Outcomes = self._get(actor.compute.remote(tasks))
            except self._ray.exceptions.RayActorError as error:
                logger.warning("A Ray actor is lost, its %d tasks are done by others: %s", len(tasks), _first(error))
                threading.Thread(target=self._revive, args=(actor,), daemon=True).start()
                continue
            self._idle.put(actor)
            return [(index, self._checked(outcome)) for index, outcome in outcomes]

    def _checked(self, outcome: Prediction | BackendError) -> Prediction | BackendError:
        if isinstance(outcome, Prediction) and outcome.model_version != self.version:
            return ConfigError(f"the weights on a node have changed: its version is {outcome.model_version}")
        return outcome

    def _revive(self, actor: Any) -> None:
        until = time.monotonic() + REVIVAL
        while time.monotonic() < until:
            try:
                self._get(actor.version.remote(), timeout=until - time.monotonic())
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
                time.sleep(1)
            else:
                self._idle.put(actor)
                return
        with self._lock:
            self._left -= 1
            if not self._left:
                self._idle.put(None)

    def _get(self, result: Any, timeout: float | None = None) -> Any:
        try:
            return self._ray.get(result, timeout=timeout)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BackendError):
                raise error.cause from None
            raise


def _look_for(address: str) -> None:
    """See whether anything listens at an address with a port: Ray itself gives up after minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"no Ray cluster at {address}: {reason.lower()}") from None


def _sendable(error: Exception) -> BackendError:
    return BackendError(f"{type(error).__name__}: {error}")


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
