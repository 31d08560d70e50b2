"""Take the README's picture: a sample image in Label Studio, with the boxes that the service predicts.

Run from the repository root: ``python -m tests.e2e.screenshot docs/images/label-studio.png``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from .browser import Editor, logged_in
from .configs import codes_config
from .label_studio import LabelStudio
from .service import Service
from .truth import IMAGES

LABELS = {"qr_code": "QR code", "barcode": "Barcode"}
COLORS = {"QR code": "#0055ff", "Barcode": "#ff00aa"}
SAMPLE = "photo-19.jpg"


def take(path: Path) -> None:
    """Write the picture as a PNG to ``path``."""
    with (
        tempfile.TemporaryDirectory() as label_studio_directory,
        tempfile.TemporaryDirectory() as service_directory,
        LabelStudio(Path(label_studio_directory)) as label_studio,
        Service(Path(service_directory), label_studio.service_settings) as service,
    ):
        project = label_studio.create_project(codes_config(labels=LABELS, colors=COLORS), title="Parcel codes")
        task = label_studio.upload(project, [IMAGES / SAMPLE])[SAMPLE]
        label_studio.connect(project, service.url)
        label_studio.retrieve_predictions(project)
        (prediction,) = label_studio.predictions(project)[task]
        with logged_in(label_studio) as page:
            editor = Editor(page, label_studio, COLORS)
            editor.open(project, task, regions=len(prediction["result"]), stream=True)
            editor.show_labels()
            path.parent.mkdir(parents=True, exist_ok=True)
            save_screenshot(page, path)


def save_screenshot(page: Page, path: Path) -> None:
    """Write what the page shows as a small PNG."""
    pixels = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    # A palette makes a quarter of the size; this way of choosing it keeps the few pixels of the labels' colours.
    pixels.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1).save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the PNG to write")
    take(parser.parse_args().path)
