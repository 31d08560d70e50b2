"""Predicts on a Ray cluster: an actor on each node, or for each GPU, loads the weights once."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from yolo_backend.batch.workers import LocalWorkers
from yolo_backend.errors import BackendError, ConfigError, WorkersLostError
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings, load_settings, settings_environment
from yolo_backend.tasks import Prediction, Task

logger = logging.getLogger(__name__)

CALLS_PER_ACTOR = 2  # at the same time: while one computes, the other fetches
MAX_LOSSES = 2  # of actors that compute the same tasks; then one of these tasks is suspected of ending them
REVIVAL_SECONDS = 120.0  # for which a lost actor may come back: Ray restarts it

Outcomes = list[tuple[int, Prediction | BackendError]]


class Actor:
    """Computes on a node. Ray restarts it if its process dies."""

    def __init__(self, environment: dict[str, str], labeling_config: str) -> None:
        # Not as Ray's own environment, which its dashboard shows: it holds a key.
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
            (index, outcome if isinstance(outcome, (Prediction, BackendError)) else _picklable(outcome))
            for index, outcome in self._workers().compute(tasks)
        ]

    def _workers(self) -> LocalWorkers:
        with self._lock:
            if self._loaded is None:
                self._loaded = LocalWorkers(load_settings(), self._labeling_config)
            return self._loaded


class RayWorkers:
    """The actors of a cluster. The tasks of a lost actor are computed by the others."""

    def __init__(self, address: str, settings: Settings, labeling_config: str) -> None:
        """Start an actor on each node.

        Args:
            address: Of the cluster, as `ray.init` takes it.
            settings: Of this process.
            labeling_config: XML.

        Raises:
            ConfigError: Ray isn't installed, there is no such cluster, or nothing can be filled in.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise ConfigError("--ray needs Ray: pip install -r requirements-ray.txt") from None

        self._ray: Any = ray
        _check_reachable(address)
        try:
            # The nodes have this project at the same path: they run the same image.
            ray.init(
                address=address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": str(PROJECT_DIR)}},
            )
        except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
            raise ConfigError(f"can't use the Ray cluster at {address}: {error}") from None
        try:
            versions = self._versions(self._start(settings_environment(), labeling_config))
        except (ray.exceptions.RayError, ImportError) as error:
            raise ConfigError(f"the Ray cluster at {address} can't run this project: {_reason(error)}") from None
        if not versions:
            raise ConfigError(f"the Ray cluster at {address} has no node with a CPU for its work")
        if len(distinct := sorted(set(versions.values()))) > 1:
            raise ConfigError(
                f"the nodes would give predictions of different versions ({', '.join(distinct)}): "
                "they need the same weights and settings"
            )
        actors, (self.version,) = list(versions), distinct
        self.max_concurrency = CALLS_PER_ACTOR * len(actors)
        has_videos = any(step.object_tag == "Video" for step in make_plan(labeling_config, settings).passes)
        self.batch_size = 1 if has_videos else 16
        self._living = self.max_concurrency
        self._lock = threading.Lock()
        self._reviving: list[threading.Thread] = []
        self._closing = threading.Event()
        # A call of Ray after its own shutdown, which comes later, would end this process with status 1.
        atexit.register(self._close)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for actor in actors * CALLS_PER_ACTOR:
            self._idle.put(actor)

    def _start(self, environment: dict[str, str], labeling_config: str) -> list[Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor_class = self._ray.remote(Actor)
        actors: list[Any] = []
        for node in self._ray.nodes():
            gpus = int(node["Resources"].get("GPU", 0))
            if not node["Alive"] or not node["Resources"].get("CPU"):
                continue
            # If its node is lost, an actor with a GPU may move to another node. One without is lost with its node: Ray would
            # place an actor that needs nothing, and may move, on any node at once, also on one without a CPU for it.
            strategy = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=gpus > 0)
            for _ in range(gpus or 1):
                options = actor_class.options(
                    num_cpus=0,
                    num_gpus=1 if gpus else 0,
                    max_restarts=-1,
                    max_concurrency=CALLS_PER_ACTOR,
                    scheduling_strategy=strategy,
                )
                actors.append(options.remote(environment, labeling_config))
        return actors

    def _versions(self, actors: Sequence[Any]) -> dict[Any, str]:
        """Wait until the models are loaded, and return the version of each actor that has a node."""
        versions: dict[Any, str] = {}
        for actor, version in [(actor, actor.version.remote()) for actor in actors]:
            try:
                versions[actor] = self._get(version)
            except self._ray.exceptions.ActorUnschedulableError:
                # It takes Ray some ten seconds to notice, or a minute where the network is silent.
                logger.warning("A node is left out: the Ray cluster has lost it")
        return versions

    def compute(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Prediction | Exception]]:
        """See `Workers`.

        Raises:
            WorkersLostError: no actor is left.
        """
        for _ in range(MAX_LOSSES):
            actor = self._idle.get()
            if actor is None:
                self._idle.put(None)  # for the other threads
                raise WorkersLostError("no node of the Ray cluster is left; the same command goes on from here")
            try:
                outcomes: Outcomes = self._get(actor.compute.remote(tasks))
            except Exception as error:
                if not self._is_loss(error):
                    self._idle.put(actor)
                    raise
                logger.warning("A Ray actor is lost, its tasks (%d) are done by others: %s", len(tasks), _reason(error))
                reviving = threading.Thread(target=self._revive, args=(actor,), daemon=True)
                self._reviving.append(reviving)
                reviving.start()
            else:
                self._idle.put(actor)
                for index, outcome in outcomes:
                    yield index, self._checked(outcome)
                return
        if len(tasks) == 1:
            yield 0, BackendError(f"Ray actors were lost over it {MAX_LOSSES} times; Ray's logs on their nodes say why")
            return
        for index, task in enumerate(tasks):
            for _, by_itself in self.compute([task]):
                yield index, by_itself

    def _checked(self, outcome: Prediction | BackendError) -> Prediction | BackendError:
        if isinstance(outcome, Prediction) and outcome.model_version != self.version:
            return ConfigError(f"the weights on a node have changed: its version is {outcome.model_version}")
        return outcome

    def _is_loss(self, error: Exception) -> bool:
        """Tell whether the actor, its node or its result is lost; else the call failed in an actor that lives on."""
        exceptions = self._ray.exceptions
        return isinstance(error, exceptions.RayError) and not isinstance(error, exceptions.RayTaskError)

    def _revive(self, actor: Any) -> None:
        exceptions = self._ray.exceptions
        until = time.monotonic() + REVIVAL_SECONDS
        call, reason = None, f"Ray hasn't restarted it in {REVIVAL_SECONDS:g} s"
        while time.monotonic() < until and not self._closing.is_set():
            try:
                call = actor.version.remote() if call is None else call
                version = self._get(call, timeout=1)
            except exceptions.GetTimeoutError:
                continue
            except exceptions.ActorUnschedulableError:
                reason = "its node is lost"
                break
            except Exception as error:
                call, reason = None, _reason(error)
                self._closing.wait(1)
            else:
                if version == self.version:
                    self._idle.put(actor)
                    return
                reason = f"its version is {version} now"
                break
        if self._closing.is_set():
            return
        logger.warning("A lost Ray actor doesn't come back: %s", reason)
        with self._lock:
            self._living -= 1
            if not self._living:
                self._idle.put(None)

    def _close(self) -> None:
        self._closing.set()
        for reviving in self._reviving:
            reviving.join()

    def _get(self, result: Any, timeout: float | None = None) -> Any:
        try:
            return self._ray.get(result, timeout=timeout)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BackendError):
                raise error.cause from None
            raise


def _check_reachable(address: str) -> None:
    """Check that a server listens at an address with a port: Ray itself gives up after minutes only.

    Raises:
        ConfigError: none does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"no Ray cluster at {address}: {reason.lower()}") from None


def _picklable(error: Exception) -> BackendError:
    return BackendError(f"{type(error).__name__}: {error}")


def _reason(error: Exception) -> str:
    """Return the reason in one line; if an actor's code failed, the last line of its traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if "ray::" in lines[0] else 0].strip()
