"""A project predicted on a Ray cluster of two nodes, of which one is lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .command import Command, contents, project_of, run, settings_for
from .configs import codes_config
from .label_studio import LabelStudio

TASKS = 240
STORE = 100_000_000  # bytes of shared memory for a node
# With so many pixels all actors have something in hand when the first predictions are there.
SLOW = codes_config().replace('model_path="demo-detect.pt"', 'model_path="demo-detect.pt" model_imgsz="960"')


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
    label_studio: LabelStudio, cluster: Any, tmp_path: Path
) -> None:
    settings = settings_for(label_studio, tmp_path / "data")
    project = project_of(label_studio, TASKS, SLOW)
    assert run(tmp_path / "alone.txt", "predict", "--project", str(project), **settings)[0] == 0
    alone = contents(label_studio.predictions(project))
    assert {len(held) for held in alone.values()} == {1}
    label_studio.delete_predictions(project)

    command = Command(tmp_path / "ray.txt", "predict", "--project", str(project), "--ray", cluster.address, **settings)
    command.wait_until(lambda: label_studio.count_predictions(project) > 0)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    assert command.wait() == 0, command.output
    assert "A Ray actor is lost" in command.output
    assert contents(label_studio.predictions(project)) == alone
