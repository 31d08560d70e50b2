"""What a person sees: the predicted boxes on the picture, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from .browser import Editor
from .configs import COLORS, codes_config
from .label_studio import LabelStudio
from .service import Service
from .truth import IMAGES, Box, region_boxes

# Landscape, portrait, and smaller than the editor's canvas.
PICTURES = ("photo-19.jpg", "photo-14.jpg", "photo-03.jpg")


@pytest.fixture
def editor(page: Page, label_studio: LabelStudio) -> Editor:
    return Editor(page, label_studio, COLORS)


@pytest.fixture
def project(label_studio: LabelStudio, service: Service) -> int:
    project = label_studio.create_project(codes_config())
    label_studio.connect(project, service.url)
    return project


@pytest.mark.parametrize("image", PICTURES)
def test_predicted_boxes_are_on_the_screen(label_studio: LabelStudio, editor: Editor, project: int, image: str) -> None:
    task = label_studio.upload(project, [IMAGES / image])[image]
    label_studio.retrieve_predictions(project)
    (prediction,) = label_studio.predictions(project)[task]
    saved = region_boxes(prediction["result"])

    editor.open(project, task, regions=len(saved))
    _assert_drawn(editor, saved)
    editor.show_prediction(prediction["id"], regions=len(saved))
    _assert_drawn(editor, saved)


def _assert_drawn(editor: Editor, saved: list[Box]) -> None:
    drawn = editor.drawn_boxes()
    assert saved
    # Two pixels of the image; the editor may show it smaller than it is.
    for box, expected in zip(_sorted(drawn), _sorted(saved), strict=True):
        assert box.label == expected.label
        assert _sides(box) == pytest.approx(_sides(expected), abs=2)
    assert sorted(editor.listed_labels()) == sorted(box.label for box in saved)
    assert all(share > 0.9 for share in editor.outlines_on_screen())


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.width, box.height


def _sorted(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=_sides)


def test_opening_a_task_in_the_browser_predicts_it(label_studio: LabelStudio, editor: Editor, project: int) -> None:
    image = PICTURES[0]
    task = label_studio.upload(project, [IMAGES / image])[image]
    editor.open(project, task)
    # The page asks for the task twice at the same moment, so there may be two predictions; they are the same.
    for prediction in label_studio.predictions(project)[task]:
        _assert_drawn(editor, region_boxes(prediction["result"]))


def test_right_predictions_can_be_submitted_as_they_are(
    label_studio: LabelStudio, editor: Editor, project: int
) -> None:
    image = PICTURES[0]
    task = label_studio.upload(project, [IMAGES / image])[image]
    label_studio.retrieve_predictions(project)
    (prediction,) = label_studio.predictions(project)[task]
    editor.open(project, task, regions=len(prediction["result"]))
    editor.submit()
    (annotation,) = label_studio.call("GET", f"/api/tasks/{task}/annotations/")
    assert _sorted(region_boxes(annotation["result"])) == _sorted(region_boxes(prediction["result"]))
