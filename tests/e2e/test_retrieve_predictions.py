"""Retrieve Predictions in a real Label Studio: sample images in, the right boxes in its database."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from .configs import LABELS, codes_config
from .conftest import StartService
from .label_studio import Json, LabelStudio, LabelStudioError
from .service import Service
from .truth import differences, region_boxes, sample_images, true_boxes

logger = logging.getLogger(__name__)

Predictions = Mapping[int, list[dict[str, Json]]]


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project, the tasks of its uploaded images by file name, and the id of its backend."""

    id: int
    tasks: Mapping[str, int]
    backend: int


def project_with(
    label_studio: LabelStudio,
    service: Service,
    images: list[Path],
    *,
    config: str | None = None,
    basic_auth: tuple[str, str] | None = None,
) -> Project:
    project = label_studio.create_project(config or codes_config())
    tasks = label_studio.upload(project, images)
    backend = label_studio.connect(project, service.url, basic_auth=basic_auth)
    return Project(id=project, tasks=tasks, backend=backend)


def assert_match_the_truth(tasks: Mapping[str, int], predictions: Predictions) -> None:
    """Every code found once and rightly labelled, at most one false box per ten images."""
    found = {}
    for image, task in tasks.items():
        (prediction,) = predictions[task]
        found[image] = differences(region_boxes(prediction["result"]), true_boxes(image, LABELS))
    missed = {image: wrong.missed for image, wrong in found.items() if wrong.missed}
    mislabelled = {image: wrong.mislabelled for image, wrong in found.items() if wrong.mislabelled}
    false = {image: wrong.false for image, wrong in found.items() if wrong.false}
    assert not missed, f"codes missed: {missed}; boxes left over: {false}"
    assert not mislabelled, f"wrong labels: {mislabelled}"
    assert sum(map(len, false.values())) <= len(tasks) / 10, f"false boxes: {false}"


@pytest.fixture(scope="module")
def predicted(label_studio: LabelStudio, service: Service) -> Project:
    """A project with all sample images, whose predictions have been retrieved."""
    project = project_with(label_studio, service, sample_images())
    label_studio.retrieve_predictions(project.id)
    return project


def test_predictions_match_the_truth(label_studio: LabelStudio, predicted: Project) -> None:
    assert len(predicted.tasks) >= 10
    assert_match_the_truth(predicted.tasks, label_studio.predictions(predicted.id))


def test_regions_are_complete(label_studio: LabelStudio, predicted: Project) -> None:
    predictions = [one for per_task in label_studio.predictions(predicted.id).values() for one in per_task]
    regions = [region for prediction in predictions for region in prediction["result"]]
    assert len({region["id"] for region in regions}) == len(regions) > 0
    for region in regions:
        assert (region["from_name"], region["to_name"], region["type"]) == ("code", "image", "rectanglelabels")
        assert 0.4 <= region["score"] <= 1


def test_model_version_is_ours(label_studio: LabelStudio, service: Service, predicted: Project) -> None:
    answer = service.setup(
        {
            "project": f"{predicted.id}.1",
            "schema": codes_config(),
            "hostname": label_studio.url,
            "access_token": label_studio.legacy_token,
            "extra_params": None,
        }
    )
    (backend,) = label_studio.backends(predicted.id)
    assert (backend["state"], backend["model_version"]) == ("CO", answer["model_version"])
    predictions = label_studio.predictions(predicted.id).values()
    assert {one["model_version"] for per_task in predictions for one in per_task} == {answer["model_version"]}


def test_pressing_it_again_changes_nothing(label_studio: LabelStudio, predicted: Project) -> None:
    before = label_studio.predictions(predicted.id)
    label_studio.retrieve_predictions(predicted.id)
    after = label_studio.predictions(predicted.id)
    assert _ids(after) == _ids(before)
    assert all(len(per_task) == 1 for per_task in after.values())


def test_another_threshold_is_another_model_version(label_studio: LabelStudio, service: Service) -> None:
    project = project_with(label_studio, service, sample_images()[:2])
    label_studio.retrieve_predictions(project.id)
    label_studio.change_config(project.id, codes_config(threshold=0.6))
    label_studio.retrieve_predictions(project.id)
    for per_task in label_studio.predictions(project.id).values():
        assert len({prediction["model_version"] for prediction in per_task}) == len(per_task) == 2


def _ids(predictions: Predictions) -> dict[int, list[int]]:
    return {task: sorted(one["id"] for one in per_task) for task, per_task in predictions.items()}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How the service gets at the images and Label Studio at the service."""

    settings: Callable[[LabelStudio], dict[str, str]]
    basic_auth: tuple[str, str] | None = None
    legacy_tokens: bool = True


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(
            Credentials(
                settings=lambda ls: {
                    "LABEL_STUDIO_URL": ls.url,
                    "LABEL_STUDIO_API_KEY": ls.legacy_token,
                    "BASIC_AUTH_USER": "annotator",
                    "BASIC_AUTH_PASS": "pässword: with a colon",
                },
                basic_auth=("annotator", "pässword: with a colon"),
            ),
            id="basic auth",
        ),
        pytest.param(
            Credentials(
                settings=lambda ls: {"LABEL_STUDIO_URL": ls.url, "LABEL_STUDIO_API_KEY": ls.personal_access_token},
                legacy_tokens=False,
            ),
            id="personal access token, legacy tokens off",
        ),
        pytest.param(
            # Anybody could hand over an address of this machine, so the operator has to allow it.
            Credentials(settings=lambda ls: {"MEDIA_HOSTS": ls.url.partition("//")[2]}),
            id="only what Label Studio hands over",
        ),
    ],
)
def test_credentials(label_studio: LabelStudio, start_service: StartService, credentials: Credentials) -> None:
    with ExitStack() as stack:
        if not credentials.legacy_tokens:
            stack.enter_context(label_studio.legacy_tokens_disabled())
        service = start_service(**credentials.settings(label_studio))
        project = project_with(label_studio, service, sample_images()[:3], basic_auth=credentials.basic_auth)
        label_studio.retrieve_predictions(project.id)
        assert_match_the_truth(project.tasks, label_studio.predictions(project.id))


def test_without_working_credentials_the_log_says_what_to_do(
    label_studio: LabelStudio, start_service: StartService
) -> None:
    service = start_service(LABEL_STUDIO_URL=label_studio.url)
    with label_studio.legacy_tokens_disabled():
        project = project_with(label_studio, service, sample_images()[:2])
        label_studio.retrieve_predictions(project.id)
    assert list(label_studio.predictions(project.id).values()) == [[], []]
    for task in project.tasks.values():
        assert re.search(rf"Task {task} left out: .*LABEL_STUDIO_API_KEY", service.log)


def test_an_address_of_this_machine_that_is_only_handed_over_is_not_asked(
    label_studio: LabelStudio, start_service: StartService
) -> None:
    service = start_service()
    project = project_with(label_studio, service, sample_images()[:2])
    label_studio.retrieve_predictions(project.id)
    assert list(label_studio.predictions(project.id).values()) == [[], []]
    for task in project.tasks.values():
        assert re.search(rf"Task {task} left out: .*set LABEL_STUDIO_URL to {label_studio.url};", service.log)


@pytest.mark.parametrize(
    "basic_auth",
    [
        pytest.param(None, id="none"),
        pytest.param(("annotator", "wrong"), id="wrong password"),
        pytest.param(("somebody", "right"), id="wrong user"),
    ],
)
def test_wrong_basic_auth_does_not_connect(
    label_studio: LabelStudio, guarded_service: Service, basic_auth: tuple[str, str] | None
) -> None:
    project = label_studio.create_project(codes_config())
    with pytest.raises(LabelStudioError, match="401 Client Error"):
        label_studio.connect(project, guarded_service.url, basic_auth=basic_auth)
    assert label_studio.backends(project) == []


def test_a_task_that_fails_leaves_the_others_alone(label_studio: LabelStudio, service: Service, tmp_path: Path) -> None:
    # Label Studio takes no task without the config's key, but the config may change once the tasks are there.
    project = label_studio.create_project('<View><Text name="text" value="$text"/></View>')
    (without_key,) = label_studio.import_tasks(project, [{"text": "no picture at all"}])
    label_studio.change_config(project, codes_config())
    text = tmp_path / "text.jpg"
    text.write_text("I am not a picture.\n")
    tasks = label_studio.upload(project, [*sample_images()[:4], text])
    gone = sample_images()[1].name
    label_studio.uploaded_file(tasks[gone]).unlink()
    label_studio.connect(project, service.url)

    label_studio.retrieve_predictions(project)

    predictions = label_studio.predictions(project)
    for task in (tasks.pop(gone), tasks.pop(text.name), without_key):
        assert predictions[task] == []
        assert re.search(rf"Task {task} left out: ", service.log)
    assert len(tasks) == 3
    assert_match_the_truth(tasks, predictions)


def test_opening_a_task_predicts_it(label_studio: LabelStudio, service: Service) -> None:
    image = sample_images()[0]
    project = project_with(label_studio, service, [image])
    task = project.tasks[image.name]
    assert_match_the_truth(project.tasks, {task: label_studio.open_task(task)["predictions"]})


def test_opening_a_task_in_a_browser_asks_twice_and_saves_one_prediction(
    label_studio: LabelStudio, service: Service
) -> None:
    images = sample_images()[:3]
    project = project_with(label_studio, service, images)
    for image in images:
        task = project.tasks[image.name]
        with ThreadPoolExecutor(2) as pages:
            shown = list(pages.map(label_studio.open_task, [task, task]))
        for one in shown:
            assert_match_the_truth({image.name: task}, {task: one["predictions"]})
    assert [len(per_task) for per_task in label_studio.predictions(project.id).values()] == [1, 1, 1]


def test_opened_tasks_get_one_prediction_from_two_workers(
    label_studio: LabelStudio, start_service: StartService
) -> None:
    """As a browser opens a task: by two requests at the same moment, which either worker may get."""
    service = start_service(
        LABEL_STUDIO_URL=label_studio.url,
        LABEL_STUDIO_API_KEY=label_studio.personal_access_token,
        LOCAL_FILES_DOCUMENT_ROOT=str(sample_images()[0].parent),
        WORKERS="2",
    )
    project = label_studio.create_project(codes_config())
    image = f"/data/local-files/?d={sample_images()[0].name}"
    tasks = label_studio.import_tasks(project, [{"image": image, "number": number} for number in range(50)])
    label_studio.connect(project, service.url)
    with ThreadPoolExecutor(2) as browser:
        pages = [list(browser.map(label_studio.open_task, [task, task])) for task in tasks]
    assert [len(per_task) for per_task in label_studio.predictions(project).values()] == [1] * len(tasks)
    shown = [[len(page["predictions"]) for page in pair] for pair in pages]
    # A page that Label Studio began to make before, and ended after the other one's prediction was saved, has none.
    logger.info("predictions on the two pages of each task: %s", Counter(map(tuple, shown)))
    assert all(map(any, shown))


def test_interactive_mode_gets_one_prediction(label_studio: LabelStudio, service: Service) -> None:
    there = sample_images()[0]
    project = project_with(label_studio, service, [there])
    task_without_file = label_studio.import_tasks(project.id, [{"image": "/data/upload/1/gone.jpg"}])[0]

    elsewhere = {
        "id": "drawn", "from_name": "code", "to_name": "image", "type": "rectanglelabels",
        "original_width": 1280, "original_height": 960, "image_rotation": 0,
        "value": {"x": 1, "y": 1, "width": 2, "height": 2, "rotation": 0, "rectanglelabels": [LABELS["qr_code"]]},
    }  # fmt: skip
    assert label_studio.predict_interactively(project.backend, project.tasks[there.name], [elsewhere])["result"] == []
    label_studio.retrieve_predictions(project.id, [project.tasks[there.name]])
    (prediction,) = label_studio.predictions(project.id)[project.tasks[there.name]]
    for region in prediction["result"]:
        drawn = [elsewhere, region | {"id": "by hand"}]
        answer = label_studio.predict_interactively(project.backend, project.tasks[there.name], drawn)
        (answered,) = answer["result"]
        assert answered["value"] == region["value"]
        assert answered["id"] not in ("by hand", region["id"])
    answer = label_studio.predict_interactively(project.backend, task_without_file, [elsewhere])
    assert answer["result"] == []
    # After Submit the editor asks once more.
    assert label_studio.predict_interactively(project.backend, project.tasks[there.name])["result"] == []


CAR = '<Label value="Car" background="blue" predicted_values="jeep,cab,limousine,truck"/>'
ANIMALS = """
    <Label value="Cat" background="green" predicted_values="kitten,tabby,persian"/>
    <Label value="Dog" background="orange" predicted_values="puppy,retriever,husky"/>
    <Label value="Other" background="gray" predicted_values="bird,rabbit,unknown"/>
"""


@pytest.mark.parametrize("labels", [pytest.param(CAR, id="Car"), pytest.param(ANIMALS, id="Cat, Dog, Other")])
# Nothing can be predicted: there are no default weights without a network, and the bundled ones know none of these names.
@pytest.mark.parametrize("model_path", ["", 'model_path="demo-detect.pt"'], ids=["default weights", "bundled weights"])
def test_labels_that_the_model_does_not_know(
    label_studio: LabelStudio, service: Service, labels: str, model_path: str
) -> None:
    config = f"""
        <View>
          <Image name="image" value="$image"/>
          <RectangleLabels name="label" toName="image" model_score_threshold="0.25" {model_path}>{labels}</RectangleLabels>
        </View>
    """
    project = project_with(label_studio, service, sample_images()[:2], config=config)
    label_studio.retrieve_predictions(project.id)
    for per_task in label_studio.predictions(project.id).values():
        assert per_task == []  # so that they can be tried again
    (backend,) = label_studio.backends(project.id)
    assert backend["state"] == "CO"
