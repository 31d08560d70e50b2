"""What holds whatever comes from outside: labeling configs, task data, tokens and headers that hypothesis makes."""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from label_studio_ml.auth import credentials

from tests.security.strategies import labeling_configs, media, pictures
from yolo_backend.errors import MediaError
from yolo_backend.http.client import redacted
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media.decode import decode
from yolo_backend.observability.redaction import Redactor
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings

PHOTO = Path(__file__).resolve().parents[2] / "examples" / "images" / "photo-01.jpg"
TASK = {"id": 1, "data": {"image": "data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode()}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
tokens = st.text(max_size=80) | st.sampled_from(
    ("a.b.c", "..", "eyJ.eyJ.x", "eyJhbGciOiJIUzI1NiJ9.bnVsbA.x", "eyJhbGciOiJIUzI1NiJ9.W10.x", "\r\nX: y", "\ud800")
)
hosts = st.text(max_size=60) | st.sampled_from(
    (
        "http://ls:8080",
        "http://ls:8080/sub/",
        "http://[::1]",
        "http://[",
        "http://a:b@c",
        "ftp://x",
        "//x",
        "http://x:99999",
    )
)


@lru_cache(maxsize=1)
def engine() -> Engine:
    return Engine(Settings(runtime="pytorch", default_detect_model="demo-detect.pt", allow_downloads=False))


@given(labeling_configs() | st.text(max_size=300))
def test_a_labeling_config_is_planned_or_its_problems_are_said(config: str) -> None:
    plan = engine().plan(config)
    assert all(plan.problems)
    assert plan.passes or plan.problems
    for one in plan.passes:
        assert not one.model.weights.startswith("/")
        assert ".." not in one.model.weights.split("/")
    version = engine().model_version(plan)
    assert version == engine().model_version(engine().plan(config))
    json.dumps([version, *plan.problems]).encode()


@settings(max_examples=max(15, settings().max_examples // 10))  # real models
@given(labeling_configs())
def test_a_labeling_config_gives_regions_that_label_studio_takes(config: str) -> None:
    plan = engine().plan(config)
    (prediction,) = engine().predict(plan, [TASK], LabelStudio(url=None))
    if prediction is None:
        return
    json.dumps(prediction.regions, allow_nan=False).encode()
    # A shape and its label are two regions of one id.
    ids = [(region["id"], region["from_name"]) for region in prediction.regions]
    assert len(set(ids)) == len(ids)
    for region in prediction.regions:
        assert {"from_name", "to_name", "type", "value", "score"} <= region.keys()
        assert 0 <= region["score"] <= 1


@given(media())
def test_task_data_is_a_picture_or_a_reason(value: object) -> None:
    label_studio = LabelStudio.from_settings(engine().settings, hostname=None, access_token=None)
    reason = ""
    try:
        file = engine().media.fetch(value, task_id=1, label_studio=label_studio)
        picture = engine().media.decode(file)
    except MediaError as error:
        reason = str(error)
    assert reason or picture.pixels.size > 0
    assert len(reason.encode()) < 2000


@given(pictures())
def test_a_damaged_picture_is_decoded_or_refused(data: bytes) -> None:
    try:
        picture = decode(data, max_megapixels=1)
    except MediaError:
        return
    assert picture.pixels.shape[2] == 3
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= 1e6


@given(hosts | json_values, tokens | json_values, hosts)
def test_a_token_is_for_its_own_server(hostname: Any, token: Any, url: str) -> None:
    server = LabelStudio.from_settings(Settings(), hostname=hostname, access_token=token)
    if server.owns(url):
        assert server.url is not None
        ours, theirs = urlsplit(server.url), urlsplit(url)
        assert (ours.scheme, ours.hostname) == (theirs.scheme.lower(), theirs.hostname)
    else:
        assert server.headers_for(url) == {}


@given(tokens.filter(lambda token: "." not in token))
def test_a_token_that_is_sent_is_a_header_and_nothing_more(token: str) -> None:
    server = LabelStudio.from_settings(Settings(), hostname="http://ls:8080", access_token=token)
    for value in server.headers_for("http://ls:8080/data/a.jpg").values():
        assert value.isascii()
        assert value.isprintable()


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda data: "Basic " + base64.b64encode(data).decode()))
@example("Basic " + base64.b64encode(b"annotator:right\x00").decode())
def test_no_header_but_the_right_one_is_accepted(header: str) -> None:
    known = credentials("annotator", "right")
    assert known is not None
    assert known.accept(header) == (
        re.fullmatch(r"(?i)basic *YW5ub3RhdG9yOnJpZ2h0\s*", header) is not None and " " in header
    )


words = st.text(st.characters(categories=("Lu", "Ll", "Nd"), max_codepoint=127), min_size=12, max_size=60).map(
    lambda text: f"Zq{text}9"
)
PLACES = (
    "http://user:{}@host/a.jpg",
    "http://host/a.jpg?{}",
    "http://host/a.jpg?sig={}&x=1",
    "https://host#{}",
    "Authorization: Bearer {}",
    "{{'Authorization': 'Token {}'}}",
    '{{"password": "{}"}}',
    "Bearer {}",
    "api_key={}",
    "data:image/png;base64,{}",
    "Cookie: a={}",
)


@given(st.text(max_size=30), st.sampled_from(PLACES), words, st.text(max_size=30))
def test_a_secret_is_taken_out_wherever_it_stands(before: str, place: str, secret: str, after: str) -> None:
    assert secret not in Redactor()(f"{before} {place.format(secret)} {after}")


@given(st.text(max_size=2000))
def test_any_text_can_be_logged(text: str) -> None:
    assert len(Redactor()(text * 30)) < 5000


@given(words, st.text(max_size=20), st.text(max_size=20))
@example("Zq0000000000009", "", "/")
@example("Zq0000000000009", "", "us/er")
@pytest.mark.parametrize(
    "form", ["http://{2}:{0}@host/{1}", "http://host/{1}?{0}", "http://host/{1}#{0}", "s3://{0}@b/{1}"]
)
def test_an_address_is_shown_without_its_secrets(form: str, secret: str, path: str, user: str) -> None:
    assert secret not in redacted(form.format(secret, path, user))
