"""Backends as others write them for the SDK, in the three simplest shapes: nothing in them knows this package but its names."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from label_studio_ml import model as model_module
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase, predict_fn, update_fn
from label_studio_ml.response import ModelResponse
from label_studio_ml.utils import DATA_UNDEFINED_NAME
from label_studio_sdk.label_interface.objects import PredictionValue

PROJECT = "7.1795333388"


def client_of(model_class: type[LabelStudioMLBase]) -> FlaskClient:
    app = init_app(model_class=model_class)
    app.config["TESTING"] = True
    return app.test_client()


def predict(client: FlaskClient, config: str, tasks: list[dict[str, Any]], context: Any = None) -> list[Any]:
    request = {"tasks": tasks, "project": PROJECT, "label_config": config, "params": {"context": context}}
    response = client.post("/predict", data=json.dumps(request), content_type="application/json")
    assert response.status_code == 200, response.text
    results: list[Any] = json.loads(response.data)["results"]
    return results


# A text classifier that learns from annotations and keeps its model in MODEL_DIR

SENTIMENT = """
<View>
  <Text name="text" value="$text"/>
  <Choices name="sentiment" toName="text" choice="single" showInLine="true">
    <Choice value="Positive"/><Choice value="Negative"/>
  </Choices>
</View>
"""


class TextClassifier(LabelStudioMLBase):
    def setup(self) -> None:
        self.set("model_version", f"{type(self).__name__}-v{self.get('trainings') or 0}")

    @property
    def path(self) -> str:
        return os.path.join(os.environ["MODEL_DIR"], "model.pkl")  # noqa: PTH118

    def words(self) -> dict[str, Counter[str]]:
        if not Path(self.path).exists():
            from_name, _, _ = self.label_interface.get_first_tag_occurence("Choices", "Text")
            return {label: Counter(label.lower().split()) for label in self.label_interface.get_tag(from_name).labels}
        with Path(self.path).open("rb") as file:
            words: dict[str, Counter[str]] = pickle.load(file)
        return words

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> ModelResponse:
        from_name, _, value = self.label_interface.get_first_tag_occurence("Choices", "Text")
        predictions = []
        for task in tasks:
            text = self.preload_task_data(task, task["data"].get(value) or task["data"].get(DATA_UNDEFINED_NAME))
            scores = {label: sum(words[word] for word in text.lower().split()) for label, words in self.words().items()}
            best = max(scores, key=lambda label: scores[label])
            region = self.label_interface.get_tag(from_name).label(best)
            score = scores[best] / max(1, sum(scores.values()))
            predictions.append(PredictionValue(score=score, result=[region], model_version=self.get("model_version")))
        return ModelResponse(predictions=predictions)

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> None:
        if event not in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED"):
            return
        words = self.words()
        for region in data["annotation"]["result"]:
            words[region["value"]["choices"][0]].update(data["task"]["data"]["text"].lower().split())
        with Path(self.path).open("wb") as file:
            pickle.dump(words, file)
        self.set("trainings", str(int(self.get("trainings") or 0) + 1))


# Label Studio's SDK writes its regions by a method that pydantic calls deprecated.
@pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")
def test_a_text_classifier_predicts_and_learns() -> None:
    client = client_of(TextClassifier)
    setup = {"project": PROJECT, "schema": SENTIMENT, "hostname": "http://ls", "access_token": "x", "extra_params": ""}
    assert client.post("/setup", json=setup).json == {"model_version": "TextClassifier-v0"}
    tasks = [{"id": 1, "data": {"text": "a negative one"}}, {"id": 2, "data": {"$undefined$": "very positive"}}]
    first, second = predict(client, SENTIMENT, tasks)
    assert first["result"][0]["value"] == {"choices": ["Negative"]}
    assert second["result"][0]["value"] == {"choices": ["Positive"]}
    assert (first["score"], first["model_version"]) == (1.0, "TextClassifier-v0")
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"result": [{"type": "choices", "value": {"choices": ["Positive"]}}]},
        "task": {"id": 3, "data": {"text": "splendid weather"}},
        "project": {"id": 7, "created_at": "2026-11-22T07:43:08Z", "label_config": SENTIMENT},
    }
    assert client.post("/webhook", json=event).status_code == 201
    deadline = time.monotonic() + 30
    while TextClassifier(PROJECT, SENTIMENT).get("model_version") == "TextClassifier-v0":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (learnt,) = predict(client, SENTIMENT, [{"id": 4, "data": {"text": "splendid"}}])
    assert learnt["result"][0]["value"] == {"choices": ["Positive"]}
    assert learnt["model_version"] == "TextClassifier-v1"


# An interactive keyword search, which has nothing to say before somebody marks a word

SPANS = """
<View>
  <Labels name="label" toName="text"><Label value="PER"/><Label value="ORG"/></Labels>
  <Text name="text" value="$text"/>
</View>
"""


class KeywordSearch(LabelStudioMLBase):
    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> ModelResponse:
        if not context:
            return ModelResponse(predictions=[])
        from_name, to_name, value = self.label_interface.get_first_tag_occurence("Labels", "Text")
        drawn = next((region for region in context.get("result") if region["from_name"] == from_name), None)
        if drawn is None:
            return ModelResponse(predictions=[])
        predictions = []
        for task in tasks:
            result = [
                {
                    "from_name": from_name,
                    "to_name": to_name,
                    "type": "labels",
                    "value": {"start": found.start(), "end": found.end(), "labels": drawn["value"]["labels"]},
                }
                for found in re.finditer(re.escape(drawn["value"]["text"]), task["data"][value], re.IGNORECASE)
            ]
            predictions.append(PredictionValue(result=result, score=0.5))
        return ModelResponse(predictions=predictions, model_version=self.get("model_version"))


def test_an_interactive_keyword_search() -> None:
    client = client_of(KeywordSearch)
    tasks = [{"id": number, "data": {"text": "Ada met Ada's friend."}} for number in (1, 2)]
    assert predict(client, SPANS, tasks) == [[], []]
    word = {
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
    }
    (prediction,) = predict(client, SPANS, tasks[:1], {"result": [word]})
    assert [region["value"]["start"] for region in prediction["result"]] == [0, 8]
    assert prediction["model_version"] == "0.0.1"
    # After Submit the editor asks once more, with nothing drawn.
    (nothing,) = predict(client, SPANS, tasks[:1], {"result": []})
    assert nothing == {"result": [], "score": 0.0, "model_version": "0.0.1"}


# Functions, and no class


@pytest.fixture
def _no_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_predict_fn", None)
    monkeypatch.setattr(model_module, "_update_fn", None)


@pytest.mark.usefixtures("_no_functions")
def test_functions_make_a_backend() -> None:
    @predict_fn
    def longest(tasks: list[dict[str, Any]], context: Any, helper: LabelStudioMLBase, **kwargs: Any) -> list[Any]:
        from_name, to_name, value = helper.get_first_tag_occurence("Choices", "Text")
        labels = helper.parsed_label_config[from_name]["labels"]
        return [
            {
                "score": 1.0,
                "result": [
                    {
                        "from_name": from_name,
                        "to_name": to_name,
                        "type": "choices",
                        "value": {"choices": [labels[len(task["data"][value]) % len(labels)]]},
                    }
                ],
            }
            for task in tasks
        ]

    @update_fn
    def learn(event: str, data: dict[str, Any], helper: LabelStudioMLBase, **kwargs: Any) -> None:
        helper.set("learnt", event)

    client = client_of(LabelStudioMLBase)
    even, odd = predict(client, SENTIMENT, [{"id": 1, "data": {"text": "even"}}, {"id": 2, "data": {"text": "odd"}}])
    assert even["result"][0]["value"] == {"choices": ["Positive"]}
    assert odd["result"][0]["value"] == {"choices": ["Negative"]}
    assert odd["model_version"] == "0.0.1"
    assert client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}}).status_code == 201
    deadline = time.monotonic() + 30
    while LabelStudioMLBase("7").get("learnt") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# The application under its old name

SCRIPT = """
    from label_studio_ml.api import _server

    @_server.get("/own")
    def own():
        return "a route of the backend's own"

    def health(app):
        with app.test_client() as client:
            return client.get("/health").get_json()["model_class"]

    if {ask_first}:
        print(health(_server))
        client = _server.test_client()
        print(client.get("/metrics").status_code)
        body = {{"tasks": {{"id": 1}}, "label_config": "<View></View>", "params": {{"context": {{}}}}}}
        print(client.post("/predict", json=body).status_code)
        print(client.post("/setup", json={{"project": "1.1", "schema": "<View></View>"}}).status_code)
        event = {{"action": "ANNOTATION_CREATED", "project": {{"id": 1, "label_config": "<View></View>"}}}}
        print(client.post("/webhook", json=event).status_code)

    from label_studio_ml.api import init_app
    from label_studio_ml.model import LabelStudioMLBase

    class Own(LabelStudioMLBase):
        pass

    app = init_app(Own)
    print(health(app), health(_server))
    if not {ask_first}:
        print(app.test_client().get("/own").text)
"""


@pytest.mark.parametrize(
    ("ask_first", "lines"),
    [
        (True, ["LabelStudioMLBase", "200", "200", "200", "201", "Own Own"]),
        (False, ["Own Own", "a route of the backend's own"]),
    ],
)
def test_the_application_can_be_imported_before_it_has_a_model(ask_first: bool, lines: list[str]) -> None:
    script = textwrap.dedent(SCRIPT.format(ask_first=ask_first))
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, lines), done.stderr
