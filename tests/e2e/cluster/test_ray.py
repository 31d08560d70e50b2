"""A project predicted on a Ray cluster of two nodes, of which one is lost on the way.

Run by hand, ``pytest tests/e2e/cluster``: Ray doesn't always end the processes of a lost node, and then there is no loss
to be seen.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Asked, WebServer, answer

from ..command import IMAGES, PHOTOS, Command, contents, project_of, run, settings_for
from ..label_studio import LabelStudio

TASKS = 240
AT_FIRST = 64  # images that come at once: as many as the actors take in hand at the start
STORE = 100_000_000  # bytes of shared memory for a node


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that only manages, and two nodes, each with its own processes."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=STORE)
    yield made
    made.shutdown()


def test_a_cluster_that_loses_a_node_makes_what_one_process_makes(
    label_studio: LabelStudio, cluster: Any, web: WebServer, tmp_path: Path
) -> None:
    asked_for, flows = itertools.count(), threading.Event()

    def photo(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if next(asked_for) >= AT_FIRST:
            flows.wait(60)
        answer(handler, (PHOTOS / Path(urlsplit(asked.target).path).name).read_bytes())

    web.routes = {f"/{name}": photo for name in IMAGES}
    settings = {**settings_for(label_studio, tmp_path / "data"), "MEDIA_HOSTS": "127.0.0.1"}
    project = project_of(label_studio, TASKS, prefix=f"{web.url}/")
    flows.set()
    assert run(tmp_path / "alone.txt", "predict", "--project", str(project), **settings)[0] == 0
    alone = contents(label_studio.predictions(project))
    assert {len(held) for held in alone.values()} == {1}
    label_studio.delete_predictions(project)

    # Every actor waits for images when a node is lost.
    flows.clear()
    asked_for = itertools.count()
    command = Command(tmp_path / "ray.txt", "predict", "--project", str(project), "--ray", cluster.address, **settings)
    command.wait_until(lambda: label_studio.count_predictions(project) > 0)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    # The processes of a node outlive it by some seconds.
    command.wait_until(lambda: "A Ray actor is lost" in command.output)
    flows.set()
    assert command.wait() == 0, command.output
    assert contents(label_studio.predictions(project)) == alone
