"""What Label Studio asks of the service, and what it gets: the contract, with real images and a real model.

Run it with ``pytest test_api.py``.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

IMAGES = Path(__file__).parent / "examples" / "images"
TRUTH = json.loads((IMAGES / "truth.json").read_text())
PROJECT = "4.1795333388"  # Label Studio's id of the project, a dot, and when it was made

LABELING_CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="code" toName="image" model_path="demo-detect.pt" model_score_threshold="0.5">
    <Label value="Square code" predicted_values="qr_code"/>
    <Label value="Line code" predicted_values="barcode"/>
  </RectangleLabels>
</View>
"""
LABELS = {"qr_code": "Square code", "barcode": "Line code"}


@pytest.fixture
def client() -> FlaskClient:
    from _wsgi import app

    return app.test_client()


@pytest.fixture
def operator() -> FlaskClient:
    """A client of the same service behind a password, which knows it."""
    from label_studio_ml.api import init_app

    from model import YOLO
    from yolo_backend.serving.dispatcher import get_dispatcher
    from yolo_backend.serving.routes import add_routes

    app = init_app(YOLO, "operator", "secret")
    add_routes(app, get_dispatcher())
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(b"operator:secret").decode()
    return client


def data_uri(name: str) -> str:
    return "data:image/jpeg;base64," + base64.b64encode((IMAGES / name).read_bytes()).decode()


def task(number: int, image: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}}


def predict(client: FlaskClient, tasks: list[dict[str, Any]], **parameters: Any) -> list[Any]:
    response = client.post(
        "/predict",
        json={"tasks": tasks, "project": PROJECT, "label_config": LABELING_CONFIG, "params": parameters or None},
    )
    assert response.status_code == 200, response.text
    return json.loads(response.text)["results"]


def set_up(client: FlaskClient, labeling_config: str = LABELING_CONFIG) -> str:
    response = client.post("/setup", json={"project": PROJECT, "schema": labeling_config})
    assert response.status_code == 200, response.text
    return json.loads(response.text)["model_version"]


def overlap(region: dict[str, Any], box: list[float], width: int, height: int) -> float:
    """Return the IoU of a region in percent with a box (x, y, width, height) in pixels."""
    value = region["value"]
    left, top = value["x"] * width / 100, value["y"] * height / 100
    right, bottom = left + value["width"] * width / 100, top + value["height"] * height / 100
    x, y, w, h = box
    inner = max(0, min(right, x + w) - max(left, x)) * max(0, min(bottom, y + h) - max(top, y))
    return inner / ((right - left) * (bottom - top) + w * h - inner)


def test_health(client: FlaskClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json == {"model_class": "YOLO", "status": "UP"}


def test_setup_answers_the_model_version(client: FlaskClient) -> None:
    version = set_up(client)
    assert version.startswith("demo-detect-")
    assert set_up(client) == version
    assert set_up(client, LABELING_CONFIG.replace("0.5", "0.4")) != version


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_predict_finds_the_codes_in_a_picture(client: FlaskClient, name: str) -> None:
    truth = TRUTH[name]
    (prediction,) = predict(client, [task(7, data_uri(name))])
    assert prediction["model_version"] == set_up(client)
    regions = prediction["result"]
    for region in regions:
        assert region["from_name"] == "code"
        assert region["to_name"] == "image"
        assert region["type"] == "rectanglelabels"
        assert (region["original_width"], region["original_height"]) == (truth["width"], truth["height"])
        assert region["value"]["rotation"] == region["image_rotation"] == 0
        assert 0.5 <= region["score"] <= 1
    for code in truth["objects"]:
        best = max(regions, key=lambda region: overlap(region, code["box"], truth["width"], truth["height"]))
        assert overlap(best, code["box"], truth["width"], truth["height"]) >= 0.8
        assert best["value"]["rectanglelabels"] == [LABELS[code["label"]]]
    if regions:
        mean = sum(region["score"] for region in regions) / len(regions)
        assert prediction["score"] == pytest.approx(mean, abs=1e-3)
    else:
        assert prediction["score"] == 0


def test_few_boxes_are_false(client: FlaskClient) -> None:
    names = sorted(TRUTH)
    predictions = predict(client, [task(number, data_uri(name)) for number, name in enumerate(names)])
    false = [
        (name, region)
        for name, prediction in zip(names, predictions, strict=True)
        for region in prediction["result"]
        if not any(
            overlap(region, code["box"], TRUTH[name]["width"], TRUTH[name]["height"]) >= 0.5
            for code in TRUTH[name]["objects"]
        )
    ]
    assert len(false) <= len(names) / 10, false
    ids = [region["id"] for prediction in predictions for region in prediction["result"]]
    assert len(ids) == len(set(ids))


def test_a_task_that_fails_is_an_empty_list_and_its_neighbours_are_not_touched(client: FlaskClient) -> None:
    name = next(name for name in sorted(TRUTH) if TRUTH[name]["objects"])
    good = data_uri(name)
    broken = [
        good[:400],  # cut off in its header
        "data:image/jpeg;base64," + base64.b64encode(b"<html>Not found</html>").decode(),
        "data:image/jpeg;base64,",
        "/etc/passwd",
        "file:///etc/passwd",
        ["a list"],
        None,
        "",
    ]
    tasks = [task(number, image) for number, image in enumerate([good, *broken, good])]
    tasks.append({"id": 99, "data": {"text": "no picture"}})
    first, *failed, last, without_key = predict(client, tasks)
    assert failed == [[]] * len(broken)
    assert without_key == []
    assert first["result"]
    assert [region["value"] for region in first["result"]] == [region["value"] for region in last["result"]]


def test_no_tasks_no_predictions(client: FlaskClient) -> None:
    assert predict(client, []) == []


def test_interactive_mode_always_gets_a_prediction(client: FlaskClient) -> None:
    (prediction,) = predict(client, [task(1, "/etc/passwd")], context={"result": []})
    assert prediction == {"result": [], "score": 0.0, "model_version": set_up(client)}


@pytest.mark.parametrize(
    "labeling_config",
    [
        "<View><Text name='t' value='$t'/><Choices name='c' toName='t'><Choice value='a'/></Choices></View>",
        LABELING_CONFIG.replace("demo-detect.pt", "not-there.pt"),
        LABELING_CONFIG.replace("demo-detect.pt", "../demo-detect.pt"),
    ],
)
def test_a_config_that_cannot_be_served_leaves_tasks_unpredicted(client: FlaskClient, labeling_config: str) -> None:
    version = set_up(client, labeling_config)
    assert version
    body = {"tasks": [task(1, data_uri(min(TRUTH)))], "project": PROJECT, "label_config": labeling_config}
    assert json.loads(client.post("/predict", json=body).text)["results"] == [[]]


def test_labels_that_no_class_of_the_model_is_leave_tasks_unpredicted(client: FlaskClient) -> None:
    labeling_config = LABELING_CONFIG.replace("qr_code", "kitten,tabby").replace("barcode", "puppy")
    body = {"tasks": [task(1, data_uri(min(TRUTH)))], "project": PROJECT, "label_config": labeling_config}
    assert json.loads(client.post("/predict", json=body).text)["results"] == [[]]


def test_events_are_taken_at_once(client: FlaskClient) -> None:
    project = {"id": 4, "created_at": "2026-11-22T07:43:08.000000Z", "label_config": LABELING_CONFIG}
    body = {
        "action": "ANNOTATION_CREATED",
        "project": project,
        "annotation": {"id": 1, "result": []},
        "task": task(1, ""),
    }
    assert client.post("/webhook", json=body).status_code == 201


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"tasks": 3}', b'{"tasks": [3], "label_config": "<View/>"}']
)
def test_a_body_that_is_no_request_is_refused_in_words(client: FlaskClient, body: bytes) -> None:
    response = client.post("/predict", data=body, content_type="application/json")
    assert response.status_code == 400
    assert json.loads(response.text)["error"]


def test_interactive_mode_answers_the_newest_prompt(client: FlaskClient) -> None:
    """The editor gets a prediction always; it holds no more than the object that a person pointed at."""
    tasks = [task(1, data_uri("photo-01.jpg"))]
    (everything,) = predict(client, tasks)
    first = everything["result"][0]
    (answer,) = predict(client, tasks, context={"result": [first | {"id": "drawn by hand"}]})
    (region,) = answer["result"]
    assert region["value"] == first["value"]
    assert region["id"] not in {known["id"] for known in everything["result"]}
    (after_submit,) = predict(client, tasks, context={"result": []})
    assert after_submit["result"] == []
    assert after_submit["model_version"] == everything["model_version"]
    (odd,) = predict(client, tasks, context={"result": 5})
    assert odd["result"] == []
    (failed,) = predict(client, [task(1, "/nowhere.jpg")], context={"result": [first]})
    assert failed["result"] == []


def test_models_are_loaded_once_a_project_connects(client: FlaskClient, operator: FlaskClient) -> None:
    config = LABELING_CONFIG.replace("demo-detect.pt", "demo-obb.pt")
    version = set_up(client, config)
    deadline = time.monotonic() + 60
    while "demo-obb.pt" not in {model["weights"] for model in operator.get("/status").get_json()["models"]}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.get("/versions", query_string={"project": PROJECT}).get_json() == {"versions": [version]}


def test_status_tells_the_operator_what_went_wrong(client: FlaskClient, operator: FlaskClient) -> None:
    predict(client, [task(1, data_uri("photo-01.jpg")), task(77, "data:image/png;base64,AAAA")])
    status = operator.get("/status").get_json()
    project = PROJECT.partition(".")[0]
    assert {model["weights"] for model in status["models"]} >= {"demo-detect.pt"}
    assert status["projects"][project]["problems"] == []
    assert status["projects"][project]["model_version"].startswith("demo-detect-")
    failure = next(one for one in status["failed_tasks"] if one["task"] == 77)
    assert failure["project"] == project
    assert failure["reason"]
    public = client.get("/status").get_json()
    assert public["tasks_failed"] == status["tasks_failed"] >= 1
    assert public.keys() == status.keys() - {"models", "projects", "failed_tasks", "refused_hostnames"}
