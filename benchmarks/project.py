"""A project predicted from the command line, beside the same work through Retrieve Predictions.

    PYTHONPATH=. python benchmarks/project.py
    PYTHONPATH=. python benchmarks/project.py --tasks 200

Both against one real Label Studio on this machine, which takes its share of the processor. The images are read from disk.
Before each, the networks for OpenVINO are there.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

from tests.e2e.command import contents, project_of, run, settings_for
from tests.e2e.label_studio import LabelStudio
from tests.e2e.service import Service


def measure(tasks: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for part in ("label-studio", "data", "service"):
            (directory / part).mkdir()
        with LabelStudio(directory / "label-studio") as label_studio:
            settings = settings_for(label_studio, directory / "data")
            project = project_of(label_studio, tasks)
            predict = ("predict", "--project", str(project))
            status, output = run(directory / "first.txt", *predict, "--limit", "1", **settings)
            assert status == 0, output
            label_studio.delete_predictions(project)

            started = time.monotonic()
            status, output = run(directory / "output.txt", *predict, **settings)
            whole = time.monotonic() - started
            found = re.search(r"predicted in ([\d.]+) s", output)
            assert status == 0, output
            assert found is not None
            by_command = contents(label_studio.predictions(project))
            assert {len(held) for held in by_command.values()} == {1}
            label_studio.delete_predictions(project)

            with Service(directory / "service", settings) as service:
                label_studio.connect(project, service.url)
                while "Loaded " not in service.log:
                    time.sleep(0.1)
                started = time.monotonic()
                label_studio.retrieve_predictions(project)
                # What is late is posted after the answer.
                while label_studio.count_predictions(project) < tasks:
                    time.sleep(0.5)
                clicked = time.monotonic() - started
            same = contents(label_studio.predictions(project)) == by_command
    print("| way | seconds | tasks/s |\n| --- | --- | --- |")
    for way, seconds in (
        ("`predict --project`", float(found[1])),
        ("the same, with the start of the process", whole),
        ("Retrieve Predictions", clicked),
    ):
        print(f"| {way} | {seconds:.1f} | {tasks / seconds:.1f} |")
    print(f"\n{tasks} tasks; the predictions are {'the same to the last byte' if same else 'NOT the same'}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    measure(parser.parse_args().tasks)
