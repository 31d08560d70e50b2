"""Choices in choices, as the editor ticks them. Label Studio's optional validation of predictions fails on paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from .browser import PATIENCE
from .examples import Cuttings
from .label_studio import LabelStudio
from .service import Service
from .tag_editor import TagEditor

# No choice is the only one in another: the editor would tick and save that one too.
CHOICES = """
    <Choice value="Code">
      <Choice value="Matrix" alias="2D">
        <Choice value="QR code" predicted_values="qr_code"/><Choice value="Aztec"/>
      </Choice>
      <Choice value="Linear"><Choice value="ITF"/><Choice value="Barcode" predicted_values="barcode"/></Choice>
    </Choice>
    <Choice value="Neither" predicted_values="none"/>
"""
PATHS = {"qr_code": ["Code", "2D", "QR code"], "barcode": ["Code", "Linear", "Barcode"], "none": ["Neither"]}
_TICKED = (
    "() => [...document.querySelectorAll('.ant-checkbox-input:checked, .ant-radio-input:checked')].map(box => box.name)"
)


@pytest.mark.parametrize("choice", ["single", "single-radio", "multiple"])
def test_a_choice_is_ticked_by_its_path(
    label_studio: LabelStudio, service: Service, page: Page, tmp_path: Path, choice: str
) -> None:
    project = label_studio.create_project(
        f"""<View><Image name="image" value="$image"/>
        <Choices name="kind" toName="image" allowNested="true" choice="{choice}" model_path="demo-classify.pt">
        {CHOICES}</Choices></View>"""
    )
    tasks = Cuttings(answers=PATHS).upload(label_studio, project, tmp_path)
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    predictions = label_studio.predictions(project)
    editor = TagEditor(page, label_studio)
    for sample, task in tasks.items():
        path = PATHS[Path(sample).stem]
        ((region,),) = (prediction["result"] for prediction in predictions[task])
        assert region["value"] == {"choices": [path]}
        label_studio.accept(predictions[task][0])
        editor.open(project, task, regions=0)
        page.wait_for_function(f"name => ({_TICKED})().join() === name", arg=path[-1], timeout=PATIENCE)
        (saved,) = editor.serialized()
        assert saved["value"] == {"choices": [path]}
