"""The response of a model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from label_studio_ml.response import ModelResponse, results_json
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue
from pydantic import ValidationError


def versions(response: ModelResponse) -> list[Any]:
    return [
        [each.model_version for each in item] if isinstance(item, list) else item.model_version
        for item in response.predictions
    ]


MIXED: list[Any] = [{"result": []}, {"result": [], "model_version": "own"}, [], [{"result": []}, {"result": []}]]


@pytest.mark.parametrize(
    ("predictions", "expected"), [([], []), (MIXED, ["new", "own", [], ["new", "new"]]), ([[]], [[]])]
)
def test_a_version_is_set_where_there_is_none(predictions: list[Any], expected: list[Any]) -> None:
    response = ModelResponse(predictions=predictions)
    assert not response.has_model_version()
    response.set_version("new")
    assert response.has_model_version()
    assert response.model_version == "new"
    assert versions(response) == expected


def test_predictions_get_the_responses_version() -> None:
    response = ModelResponse(predictions=MIXED, model_version="of all")
    assert versions(response) == [None, "own", [], [None, None]]
    response.update_predictions_version()
    assert versions(response) == ["of all", "own", [], ["of all", "of all"]]


def test_predictions_come_in_several_forms() -> None:
    value = PredictionValue(result=[], score=0.5)
    response = ModelResponse(predictions=[value, {"result": [], "score": 0.5}, [value], [], None])
    assert response.predictions == [value, value, [value], [], []]
    assert response.predictions[0] is value


@pytest.mark.parametrize("wrong", [None, 5, "text", {"result": []}, ["text"], [5], [{}], [{"result": "text"}], [[5]]])
def test_other_things_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        ModelResponse(predictions=wrong)


def test_the_response_can_be_dumped_and_read() -> None:
    response = ModelResponse(predictions=MIXED, model_version="v")
    assert ModelResponse(**response.model_dump()) == response
    assert ModelResponse.model_validate_json(response.model_dump_json()) == response


def test_regions_of_label_studios_sdk_are_written() -> None:
    interface = LabelInterface(
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="A"/></Choices></View>'
    )
    region = interface.get_tag("c").label("A")
    response = ModelResponse(predictions=[PredictionValue(result=[region])])
    with pytest.warns(DeprecationWarning, match="dict"):  # of label_studio_sdk, which still has pydantic 1's dict()
        written = json.loads(results_json(response, [{}]))
    ((written_region,),) = [item["result"] for item in written["results"]]
    assert written_region["from_name"] == "c"
    assert written_region["value"] == {"choices": ["A"]}


def test_a_mask_of_a_million_numbers_is_not_copied_on_its_way() -> None:
    rle = list(range(1_000_000))
    response = ModelResponse(predictions=[{"result": [{"value": {"format": "rle", "rle": rle}}]}])
    response.set_version("v")
    (prediction,) = response.predictions
    assert isinstance(prediction, PredictionValue)
    assert prediction.result[0]["value"]["rle"] is rle
    assert json.loads(results_json(response, [{}]))["results"][0]["result"][0]["value"]["rle"] == rle
