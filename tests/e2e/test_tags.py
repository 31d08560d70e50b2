"""Every labeling config of ``examples/`` in a real Label Studio that checks predictions: saved, accepted, exported, drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page

from .browser import NoBrowser, executable, logged_in
from .drawings import assert_alike, merged, of_regions
from .examples import DRAWN, EXAMPLES, Example, Photos, labeling_config
from .exports import Picture
from .installation import REPOSITORY
from .label_studio import Json, LabelStudio, LabelStudioError
from .processes import ServerProcess
from .service import Service
from .tag_editor import TagEditor
from .truth import true_objects

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
    settings = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.legacy_token}
    with Service(tmp_path_factory.mktemp("service"), settings) as running, _watched(servers, running.server):
        yield running


@pytest.fixture(scope="module")
def page(label_studio: LabelStudio) -> Iterator[Page]:
    if os.environ.get("E2E_BROWSER") == "skip":
        pytest.skip("E2E_BROWSER=skip")
    try:
        executable()
    except NoBrowser as error:
        pytest.fail(str(error), pytrace=False)
    with logged_in(label_studio) as page:
        yield page


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


def _without_encoding(region: Mapping[str, Any]) -> dict[str, Any]:
    value = {key: value for key, value in region["value"].items() if key != "rle"}
    return {key: value for key, value in region.items() if key != "origin"} | {"value": value}
