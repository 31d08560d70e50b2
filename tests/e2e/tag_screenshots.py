"""Take the pictures of docs/tags.md: each example config in Label Studio, filled in by the service.

Run from the repository root, for all examples or for some: ``python -m tests.e2e.tag_screenshots docs/images/tags``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page

from .browser import logged_in
from .examples import EXAMPLES, labeling_config
from .label_studio import LabelStudio
from .screenshot import save_screenshot
from .service import Service
from .tag_editor import TagEditor


def take(directory: Path, names: Iterable[str]) -> None:
    """Write a PNG of each of these examples to ``directory``, under its name."""
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as label_studio_directory,
        tempfile.TemporaryDirectory() as service_directory,
        LabelStudio(Path(label_studio_directory)) as label_studio,
        Service(Path(service_directory), label_studio.service_settings) as service,
        logged_in(label_studio) as page,
    ):
        for name in names:
            _take(label_studio, service, page, name)
            save_screenshot(page, directory / f"{name}.png")


def _take(label_studio: LabelStudio, service: Service, page: Page, name: str) -> None:
    """Bring the page to where the example is shown."""
    example = EXAMPLES[name]
    project = label_studio.create_project(labeling_config(name), title=name)
    with tempfile.TemporaryDirectory() as samples:
        tasks = example.upload(label_studio, project, Path(samples))
    task = tasks.pop(example.shown)
    for other in tasks.values():
        # Without the list of tasks, Label Studio opens the next one in its order.
        label_studio.call("DELETE", f"/api/tasks/{other}")
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    (prediction,) = label_studio.predictions(project)[task]
    regions = prediction["result"]
    editor = TagEditor(page, label_studio)
    editor.open(project, task, regions=len({region["id"] for region in regions}), stream=True)
    example.check_drawn(editor, regions)
    example.pose(editor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where to write the PNGs")
    parser.add_argument("names", nargs="*", default=sorted(EXAMPLES), help="the examples to show (default: all)")
    arguments = parser.parse_args()
    take(arguments.directory, arguments.names)
