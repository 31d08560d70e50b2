"""Labels of the examples in the editor's list of regions, which is written in their colours."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.controls.test_docs import BACKGROUNDS, luminance

from .browser import PATIENCE
from .examples import PHOTOS, labeling_config
from .label_studio import LabelStudio
from .service import Service
from .tag_editor import TagEditor
from .truth import IMAGES

# What each line of the list says, the colour of it, and the one behind it.
_LINES = """() => [...document.querySelectorAll(".lsf-labels-list")].map(line => {
    const behind = node => {
        const colour = getComputedStyle(node).backgroundColor;
        return colour.endsWith(", 0)") && node.parentElement ? behind(node.parentElement) : colour;
    };
    return [line.textContent, getComputedStyle(line).color, behind(line)];
})"""


def _hex(colour: str) -> str:
    """A colour as ``rgb(1, 2, 3)`` as ``#010203``."""
    return "#" + bytes(int(part) for part in colour.strip("rgb()").split(",")).hex()


@pytest.mark.parametrize(("theme", "background"), [*zip(("Light", "Dark"), BACKGROUNDS, strict=True)])
@pytest.mark.parametrize("name", ["RectangleLabels", "KeyPointLabels"])
def test_labels_can_be_read(
    label_studio: LabelStudio, service: Service, page: Page, name: str, theme: str, background: str
) -> None:
    project = label_studio.create_project(labeling_config(name))
    (task,) = label_studio.upload(project, [IMAGES / PHOTOS[2]]).values()
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    (prediction,) = label_studio.predictions(project)[task]
    page.goto(f"{label_studio.url}/projects/{project}/data")
    page.evaluate("theme => localStorage.setItem('preferred-color-scheme', theme)", theme)
    TagEditor(page, label_studio).open(project, task, regions=len(prediction["result"]))
    page.wait_for_function(f"() => ({_LINES})().length", timeout=PATIENCE)
    page.wait_for_selector(f"[data-color-scheme={theme.lower()}]", timeout=PATIENCE)
    lines = page.evaluate(_LINES)
    assert {text for text, _, _ in lines} >= {"QR code", "Barcode"}
    for text, colour, behind in lines:
        assert _hex(behind) == background
        dark, light = sorted([luminance(_hex(colour)), luminance(background)])
        assert (light + 0.05) / (dark + 0.05) > 3.8, text
