"""Every labeling config of ``examples/`` in a real Label Studio that checks predictions: saved, accepted, exported, drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from . import odd
from .browser import PATIENCE
from .drawings import assert_alike, merged, of_regions, of_truth, upright_box
from .examples import DRAWN, EXAMPLES, FOUND, Cuttings, Example, Photos, labeling_config
from .exports import Picture
from .installation import REPOSITORY
from .label_studio import Json, LabelStudio, LabelStudioError
from .processes import ServerProcess
from .service import Service
from .tag_editor import TagEditor
from .truth import IMAGES, true_objects

# Label Studio refuses predictions that don't fit the labeling config, which is how a new version may behave by default.
VALIDATION = {"fflag_feat_utc_210_prediction_validation_15082025": "true"}
# The formats that computer vision uses; tables and JSON say what the regions say.
VISION = {"YOLO", "YOLO_OBB", "COCO", "BRUSH_TO_COCO", "BRUSH_TO_PNG"}
# These say of rotated boxes, polygons and poses only which upright box they fill, or nothing.
LOSSY = {
    ("RectangleLabels-rotated", "YOLO"),
    ("RectangleLabels-rotated", "COCO"),
    ("PolygonLabels", "YOLO_OBB"),
    ("KeyPointLabels", "YOLO_OBB"),
}

NAMES = sorted(path.stem for path in (REPOSITORY / "examples").glob("*.xml"))

# What is known to be wrong, by test and example. Strict: a fault that is mended has to leave this table.
FAULTS = {
    ("test_regions_are_those_of_the_truth", "KeyPointLabels"): "demo-pose.pt draws the points of one code together",
}


@contextmanager
def _watched(servers: list[ServerProcess], server: ServerProcess) -> Iterator[None]:
    servers.append(server)
    yield
    servers.remove(server)


@pytest.fixture(scope="module")
def label_studio(servers: list[ServerProcess], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with (
        LabelStudio(tmp_path_factory.mktemp("label-studio"), VALIDATION) as running,
        _watched(servers, running.server),
    ):
        yield running


@pytest.fixture(scope="module")
def service(
    servers: list[ServerProcess], tmp_path_factory: pytest.TempPathFactory, label_studio: LabelStudio
) -> Iterator[Service]:
    settings = label_studio.service_settings
    with Service(tmp_path_factory.mktemp("service"), settings) as running, _watched(servers, running.server):
        yield running


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A project whose predictions were all accepted: task ids and predictions by the names of the samples."""

    name: str
    example: Example
    project: int
    tasks: Mapping[str, int]
    predictions: Mapping[str, Mapping[str, Json]]


@pytest.fixture(scope="module", params=NAMES)
def labelled(
    request: pytest.FixtureRequest,
    label_studio: LabelStudio,
    service: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Labelled:
    name = request.param
    example = EXAMPLES[name]
    project = label_studio.create_project(labeling_config(name), title=name)
    tasks = example.upload(label_studio, project, tmp_path_factory.mktemp("samples"))
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    saved = label_studio.predictions(project)
    without = [sample for sample, task in tasks.items() if len(saved[task]) != 1]
    assert not without, f"no prediction was saved for {', '.join(without)}"
    predictions = {sample: saved[task][0] for sample, task in tasks.items()}
    for prediction in predictions.values():
        label_studio.accept(prediction)
    return Labelled(name=name, example=example, project=project, tasks=tasks, predictions=predictions)


@pytest.fixture(autouse=True)
def _known_fault(request: pytest.FixtureRequest) -> None:
    if "labelled" in request.fixturenames:
        fault = FAULTS.get((request.node.originalname, request.getfixturevalue("labelled").name))
        if fault is not None:
            request.applymarker(pytest.mark.xfail(reason=fault, strict=True))


def _exported(label_studio: LabelStudio, labelled: Labelled, **options: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The regions of the only annotation of each task in the JSON export, by the samples' names."""
    (content,) = label_studio.export(labelled.project, "JSON", **options).values()
    annotations = {task["id"]: task["annotations"] for task in json.loads(content)}
    assert {len(of_task) for of_task in annotations.values()} == {1}
    return {sample: annotations[task][0]["result"] for sample, task in labelled.tasks.items()}


def test_predictions_that_do_not_fit_are_refused(label_studio: LabelStudio) -> None:
    project = label_studio.create_project(labeling_config("Choices"))
    (task,) = label_studio.import_tasks(project, [{"image": "/static/images/none.png"}])
    region = {"id": "1", "from_name": "kind", "to_name": "image", "type": "choices", "value": {"choices": ["Banana"]}}
    with pytest.raises(LabelStudioError, match="400"):
        label_studio.call("POST", "/api/predictions", json={"task": task, "result": [region]})


def test_exported_json_holds_the_predicted_regions(label_studio: LabelStudio, labelled: Labelled) -> None:
    predicted = {sample: prediction["result"] for sample, prediction in labelled.predictions.items()}
    assert _exported(label_studio, labelled) == predicted


def test_regions_are_those_of_the_truth(label_studio: LabelStudio, labelled: Labelled) -> None:
    # Between key frames, as Label Studio itself fills them in.
    regions = _exported(label_studio, labelled, interpolate_key_frames="true")
    for sample in labelled.tasks:
        labelled.example.check(sample, regions[sample])


def test_vision_exports_hold_the_same_shapes(label_studio: LabelStudio, labelled: Labelled) -> None:
    example = labelled.example
    offered = label_studio.export_formats(labelled.project) & VISION
    assert {format_ for format_ in offered if (labelled.name, format_) not in LOSSY} == set(example.exports)
    if not isinstance(example, Photos):
        assert not example.exports
        return
    pictures = {sample: Picture(task, true_objects(sample)[0]) for sample, task in labelled.tasks.items()}
    for format_, read in example.exports.items():
        drawings = read(label_studio.export(labelled.project, format_), pictures)
        for sample, drawing in drawings.items():
            expected = of_regions(labelled.predictions[sample]["result"])
            if format_ == "COCO" and example.corners:
                expected.points.clear()  # COCO's export puts the points of all objects into one, the last ones win
            if format_ == "BRUSH_TO_COCO":
                # It makes an object of each of the patches that a mask may have.
                drawing, expected = merged(drawing), merged(expected)
            assert_alike(drawing, expected, **DRAWN)


def test_editor_draws_them_in_the_right_place(label_studio: LabelStudio, labelled: Labelled, page: Page) -> None:
    example, editor = labelled.example, TagEditor(page, label_studio)
    regions = labelled.predictions[example.shown]["result"]
    editor.open(labelled.project, labelled.tasks[example.shown], regions=len({region["id"] for region in regions}))
    example.check_drawn(editor, regions)
    # What it would save: painted masks are encoded anew, and once a person saves regions it is said who made them.
    saved = editor.serialized()
    assert [_without_encoding(region) for region in saved] == [_without_encoding(region) for region in regions]
    if isinstance(example, Photos):
        assert_alike(of_regions(saved), of_regions(regions), min_iou=0.99, max_apart=0.1)


def _accepted(label_studio: LabelStudio, service: Service, project: int, tasks: Iterable[int]) -> dict[int, Json]:
    """The regions of each task's prediction, all of them saved and made annotations."""
    label_studio.connect(project, service.url)
    label_studio.retrieve_predictions(project)
    saved = label_studio.predictions(project)
    for task in tasks:
        (prediction,) = saved[task]
        label_studio.accept(prediction)
    return {task: saved[task][0]["result"] for task in tasks}


def test_odd_pictures_and_labels(label_studio: LabelStudio, service: Service, page: Page, tmp_path: Path) -> None:
    project = label_studio.create_project(odd.config(odd.tag("RectangleLabels", "标签, 1", "detect")))
    tasks = label_studio.upload(project, odd.write_pictures(tmp_path))
    regions = _accepted(label_studio, service, project, tasks.values())
    assert regions[tasks[odd.WIDE]] == regions[tasks[odd.NARROW]] == []

    (content,) = label_studio.export(project, "JSON").values()
    exported = {task["id"]: task["annotations"][0]["result"] for task in json.loads(content)}
    assert exported == regions
    yolo = label_studio.export(project, "YOLO")
    assert set(yolo["classes.txt"].decode().splitlines()) == set(odd.LABELS.values())
    categories = json.loads(label_studio.export(project, "COCO")["result.json"])["categories"]
    assert {category["name"] for category in categories} == set(odd.LABELS.values())

    editor = TagEditor(page, label_studio)
    turned = regions[tasks[odd.TURNED]]
    editor.open(project, tasks[odd.TURNED], regions=len(turned))
    size, _ = true_objects(odd.SHOWN)
    drawn = editor.drawing(size, regions=len(turned))
    assert_alike(drawn, of_regions(turned), **DRAWN)
    assert_alike(drawn, odd.renamed(of_truth(odd.SHOWN, upright_box)), **FOUND)


def test_three_hundred_objects(label_studio: LabelStudio, service: Service, page: Page, tmp_path: Path) -> None:
    attributes = f'model_imgsz="{80 * odd.ACROSS}"'
    project = label_studio.create_project(odd.config(odd.tag("RectangleLabels", "code", "detect", attributes)))
    tasks = label_studio.upload(project, [odd.write_sheet(tmp_path)])
    ((task, regions),) = _accepted(label_studio, service, project, tasks.values()).items()
    assert 295 <= len(regions) <= 305
    labels = [text for path, text in label_studio.export(project, "YOLO").items() if path.startswith("labels/")]
    assert [len(text.splitlines()) for text in labels] == [len(regions)]
    TagEditor(page, label_studio).open(project, task, regions=len(regions))


def test_forty_tags(label_studio: LabelStudio, service: Service, page: Page) -> None:
    tags = odd.forty_tags()
    project = label_studio.create_project(odd.config(*tags))
    tasks = label_studio.upload(project, [IMAGES / odd.SHOWN])
    ((task, regions),) = _accepted(label_studio, service, project, tasks.values()).items()
    assert len({region["from_name"] for region in regions}) == len(tags) == 40
    (content,) = label_studio.export(project, "JSON").values()
    assert json.loads(content)[0]["annotations"][0]["result"] == regions
    TagEditor(page, label_studio).open(project, task, regions=len({region["id"] for region in regions}))


def test_choices_for_each_page(label_studio: LabelStudio, service: Service, page: Page, tmp_path: Path) -> None:
    config = labeling_config("Choices").replace('value="$image"', 'valueList="$pages"')
    project = label_studio.create_project(config.replace("<Choices", '<Choices perItem="true"'))
    beside = label_studio.create_project(labeling_config("Choices"))
    example = EXAMPLES["Choices"]
    assert isinstance(example, Cuttings)
    files = [label_studio.uploaded_file(task) for task in example.upload(label_studio, beside, tmp_path).values()]
    media = label_studio.data_dir / "media"
    (task,) = label_studio.import_tasks(project, [{"pages": [f"/data/{file.relative_to(media)}" for file in files]}])
    regions = _accepted(label_studio, service, project, [task])[task]
    assert {region["item_index"]: region["value"]["choices"] for region in regions} == {
        index: [answer] for index, answer in enumerate(example.answers.values())
    }
    editor = TagEditor(page, label_studio)
    editor.open(project, task, regions=0)
    for index, answer in enumerate(example.answers.values()):
        editor.turn_to_page(index)
        page.wait_for_function(
            "answer => [...document.querySelectorAll('.ant-checkbox-input:checked')].map(box => box.name).join() === answer",
            arg=answer,
            timeout=PATIENCE,
        )


def _without_encoding(region: Mapping[str, Any]) -> dict[str, Any]:
    value = {key: value for key, value in region["value"].items() if key != "rle"}
    return {key: value for key, value in region.items() if key != "origin"} | {"value": value}
