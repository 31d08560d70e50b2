"""Projects predicted on a Ray cluster of two nodes: one of them is lost on the way, or a task ends whoever opens it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.conftest import Asked, WebServer, answer

from .command import IMAGES, PHOTOS, Command, contents, number_of_tasks, run, settings_for
from .configs import codes_config
from .label_studio import LabelStudio

logger = logging.getLogger(__name__)

TASKS = number_of_tasks(160)
AT_FIRST = 32  # tasks whose images come at once: half of what the actors take in hand at the start
STORE = 100_000_000  # bytes of shared memory for a node


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that only manages, and two nodes, each with its own processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else its actors let everything else on this machine go first.
        patch.setenv("RAY_worker_niceness", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def settings(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    # An image that is held back must not be given up.
    of_this = {"MEDIA_HOSTS": "127.0.0.1", "DOWNLOAD_TIMEOUT": "600"}
    return {**settings_for(label_studio, tmp_path_factory.mktemp("data")), **of_this}


def processes(node: Any) -> list[psutil.Process]:
    """A node's raylet and all that it has started."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [raylet, *raylet.children(recursive=True)]


def count_actors(node: Any) -> int:
    return sum("".join(process.cmdline()).startswith("ray::Actor") for process in processes(node))


def lose(cluster: Any, node: Any) -> None:
    """A machine takes all its processes along, at the same moment: Ray itself kills the raylet alone."""
    processes(node)[0].suspend()
    for process in processes(node):
        process.kill()
    cluster.remove_node(node, allow_graceful=False)


def project_on(web: WebServer, label_studio: LabelStudio, tasks: int, before: Callable[[int, int], None]) -> int:
    """A project whose images come from `web`; `before` one comes, it is called with the task's place and a client's port."""

    def photo(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        target = urlsplit(asked.target)
        before(int(target.query), handler.client_address[1])
        answer(handler, (PHOTOS / Path(target.path).name).read_bytes())

    web.routes = {f"/{name}": photo for name in IMAGES}
    project = label_studio.create_project(codes_config(), title="On a Ray cluster")
    addresses = (f"{web.url}/{IMAGES[place % len(IMAGES)]}?{place}" for place in range(tasks))
    label_studio.import_tasks(project, [{"image": address} for address in addresses])
    return project


def test_a_cluster_that_loses_a_node_makes_what_one_process_makes(
    label_studio: LabelStudio, cluster: Any, settings: dict[str, str], web: WebServer, tmp_path: Path
) -> None:
    flows = threading.Event()

    def hold(place: int, _: int) -> None:
        if place >= AT_FIRST:
            flows.wait()

    project = project_on(web, label_studio, TASKS, hold)
    flows.set()
    status, output = run(tmp_path / "alone.txt", "predict", "--project", str(project), **settings)
    assert status == 0, output
    logger.info("alone:\n%s", output)
    alone = contents(label_studio.predictions(project))
    assert {len(held) for held in alone.values()} == {1}
    label_studio.delete_predictions(project)

    # Every actor waits for images when a node is lost.
    flows.clear()
    command = Command(tmp_path / "ray.txt", "predict", "--project", str(project), "--ray", cluster.address, **settings)
    try:
        command.wait_until(lambda: label_studio.count_predictions(project) > 0)
        actors = [count_actors(node) for node in (cluster.head_node, *cluster.worker_nodes)]
        lose(cluster, next(iter(cluster.worker_nodes)))
        command.wait_until(lambda: "A Ray actor is lost" in command.output)
    finally:
        flows.set()
    assert command.wait() == 0, command.output
    logger.info("on the cluster:\n%s", command.output)
    assert actors == [0, 1, 1]
    assert contents(label_studio.predictions(project)) == alone


def test_a_task_that_ends_whoever_opens_it_is_given_up(
    label_studio: LabelStudio, cluster: Any, settings: dict[str, str], web: WebServer, tmp_path: Path
) -> None:
    def end_who_opens_the_second(place: int, port: int) -> None:
        if place == 1:
            (who,) = {
                one.pid for one in psutil.net_connections("tcp") if one.pid and one.laddr and one.laddr.port == port
            }
            psutil.Process(who).kill()

    project = project_on(web, label_studio, 3, end_who_opens_the_second)
    command = ["predict", "--project", str(project), "--ray", cluster.address]
    status, output = run(tmp_path / "ray.txt", *command, **settings)
    assert status == 1, output
    assert [len(held) for held in label_studio.predictions(project).values()] == [1, 0, 1], output
    assert re.search(r"^ +1  Ray actors were lost over it 2 times; Ray's logs", output, re.MULTILINE), output
