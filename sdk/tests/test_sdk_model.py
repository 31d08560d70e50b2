"""The base class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from label_studio_ml import model as model_module
from label_studio_ml.model import LabelConfigError, LabelStudioMLBase, predict_fn, update_fn

CONFIG = """
<View>
  <Text name="title" value="$headline"/>
  <Image name="photo" value="$image"/>
  <Image name="scans" valueList="$pages"/>
  <Choices name="topic" toName="title"><Choice value="News"/></Choices>
  <RectangleLabels name="boxes" toName="photo">
    <Label value="Cat" predicted_values="kitten, Tabby ,persian cat,"/>
    <Label value="Dog"/>
    <Label value="Qr" alias="qr_code" predicted_values=" "/>
    <Label value="Other" predicted_values="dog,bird"/>
  </RectangleLabels>
  <RectangleLabels name="stamps" toName="scans"><Label value="Stamp"/></RectangleLabels>
</View>
"""


def test_setup_is_called_with_all_in_place() -> None:
    class Model(LabelStudioMLBase):
        def setup(self) -> None:
            self.seen = (self.project_id, self.project_key, self.label_config, self.model_version)
            self.set("seen", "yes")

    model = Model("4.1795333388", CONFIG)
    assert model.seen == ("4", "4.1795333388", CONFIG, "0.0.1")
    assert model.get("seen") == "yes"


@pytest.mark.parametrize(
    ("given", "project_id", "key"),
    [(None, "", ""), ("", "", ""), (4, "4", "4"), ("4", "4", "4"), ("4.17", "4", "4.17")],
)
def test_project_id(given: Any, project_id: str, key: str) -> None:
    model = LabelStudioMLBase(project_id=given)
    assert (model.project_id, model.project_key) == (project_id, key)


def test_making_a_model_touches_no_disk(tmp_path: Path) -> None:
    LabelStudioMLBase("4", CONFIG)
    assert not (tmp_path / "model-dir").exists()


def test_a_class_may_keep_its_cache_elsewhere(tmp_path: Path) -> None:
    class Model(LabelStudioMLBase):
        CACHE_DIR = tmp_path / "elsewhere"

    Model("4").set("key", "value")
    assert (tmp_path / "elsewhere" / "cache.db").is_file()
    assert LabelStudioMLBase("4").get("key") is None


def test_values_belong_to_the_project() -> None:
    LabelStudioMLBase("4").set("key", "value")
    assert LabelStudioMLBase("4").get("key") == "value"
    assert LabelStudioMLBase("4").has("key")
    assert LabelStudioMLBase("5").get("key") is None
    assert not LabelStudioMLBase("5").has("key")


@pytest.mark.parametrize("value", [None, 5, b"bytes", {"a": 1}])
def test_values_are_strings(value: Any) -> None:
    with pytest.raises(TypeError, match="'key' is of type"):
        LabelStudioMLBase("4").set("key", value)


# The labeling config


def test_a_labeling_config_is_kept_when_it_is_used() -> None:
    model = LabelStudioMLBase("4")
    assert model.label_config == ""
    assert model.parsed_label_config == {}
    model.use_label_config(CONFIG)
    assert model.label_config == CONFIG
    assert set(model.parsed_label_config) == {"topic", "boxes", "stamps"}
    assert LabelStudioMLBase("4").label_config == CONFIG
    assert LabelStudioMLBase("5").label_config == ""
    assert LabelStudioMLBase("4", "<View/>").label_config == "<View/>"


def test_a_new_labeling_config_takes_the_place_of_the_old() -> None:
    model = LabelStudioMLBase("4", CONFIG)
    assert len(model.parsed_label_config) == 3
    assert len(list(model.label_interface.controls)) == 3
    model.use_label_config("<View/>")
    assert model.parsed_label_config == {}
    assert list(model.label_interface.controls) == []


@pytest.mark.parametrize("config", ["no XML", "<View>", '<View><Image name="a" toName="b"/>'])
@pytest.mark.parametrize("attribute", ["parsed_label_config", "label_interface"])
def test_a_broken_labeling_config_is_an_error_when_it_is_read(config: str, attribute: str) -> None:
    model = LabelStudioMLBase("4.17", config)
    with pytest.raises(LabelConfigError, match="labeling config of project 4 is not valid"):
        getattr(model, attribute)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("Choices", "Text"), ("topic", "title", "headline")),
        (("RectangleLabels", "Image"), ("boxes", "photo", "image")),
        ((("BrushLabels", "RectangleLabels"), ["Video", "Image"]), ("boxes", "photo", "image")),
        (("RectangleLabels", "Image", lambda name: name.startswith("st")), ("stamps", "scans", "pages")),
        (("RectangleLabels", "Image", None, lambda name: name != "photo"), ("stamps", "scans", "pages")),
    ],
)
def test_get_first_tag_occurence(arguments: Any, expected: tuple[str, str, str]) -> None:
    assert LabelStudioMLBase("4", CONFIG).get_first_tag_occurence(*arguments) == expected


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ("<View/>", ("Choices", "Text"), "no <Choices> on <Text>; it has no control tag"),
        (CONFIG, ("Choices", "Image"), "no <Choices> on <Image>; it has <Choices name='topic'> on title"),
        (CONFIG, (("A", "B"), "Image"), "no <A> or <B> on <Image>"),
        (CONFIG, ("Choices", "Text", lambda name: False), "whose name the filter lets through"),
    ],
)
def test_get_first_tag_occurence_says_what_there_is(config: str, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelStudioMLBase("4", config).get_first_tag_occurence(*arguments)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], {}),
        (["car"], {}),
        (["kitten", "tabby", "Persian Cat"], {"kitten": "Cat", "tabby": "Cat", "Persian Cat": "Cat"}),
        ({0: "bird", 7: "car"}, {"bird": "Other"}),
        # "Other" names it as the model does; the label "Dog" matches only when case is ignored.
        (["dog", "DOG", "Dog"], {"dog": "Other", "DOG": "Dog", "Dog": "Dog"}),
        # predicted_values stands in the place of the label's own name.
        (["cat", "other"], {}),
        # Label Studio stores the alias, and either name finds it; a blank predicted_values is none.
        (["qr_code", "QR"], {"qr_code": "qr_code", "QR": "qr_code"}),
    ],
    ids=str,
)
def test_build_label_map(names: Any, expected: dict[str, str]) -> None:
    assert LabelStudioMLBase("4", CONFIG).build_label_map("boxes", names) == expected


def test_build_label_map_says_which_tags_there_are() -> None:
    with pytest.raises(ValueError, match=r"no control tag 'none'; it has \['boxes', 'stamps', 'topic'\]"):
        LabelStudioMLBase("4", CONFIG).build_label_map("none", ["a"])


# Versions and parameters


def test_the_model_version_is_what_was_kept() -> None:
    class Model(LabelStudioMLBase):
        INITIAL_MODEL_VERSION = "first"

    assert LabelStudioMLBase("4").model_version == "0.0.1"
    assert Model("4").model_version == "first"
    Model("4").set("model_version", "mine")
    assert Model("4").model_version == "mine"
    assert Model("5").model_version == "first"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, "0.1.0"),
        ("0.0.1", "0.1.0"),
        ("1.9.3", "1.10.0"),
        ("v1.2", "v1.3"),
        ("7", "8"),
        ("best-9", "best-10"),
        ("first", "first-1"),
        ("first-1", "first-2"),
    ],
)
def test_bump_model_version(version: str | None, expected: str) -> None:
    model = LabelStudioMLBase("4")
    if version is not None:
        model.set("model_version", version)
    assert model.bump_model_version() == expected
    assert LabelStudioMLBase("4").model_version == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, {}), ("", {}), ({}, {}), ("{}", {}), ({"a": [1, "ü"]}, {"a": [1, "ü"]}), ('{"a": null}', {"a": None})],
)
def test_extra_params(given: Any, expected: dict[str, Any]) -> None:
    model = LabelStudioMLBase("4")
    assert model.extra_params == {}
    model.set_extra_params(given)
    assert LabelStudioMLBase("4").extra_params == expected


@pytest.mark.parametrize("given", ["[1]", "no JSON", [1], 5])
def test_extra_params_are_an_object(given: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON object|Expecting value"):
        LabelStudioMLBase("4").set_extra_params(given)


# Functions instead of a class


@pytest.fixture
def _no_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_predict_fn", None)
    monkeypatch.setattr(model_module, "_update_fn", None)


@pytest.mark.usefixtures("_no_functions")
def test_functions_instead_of_a_class(caplog: pytest.LogCaptureFixture) -> None:
    assert LabelStudioMLBase("4").predict([]) == []
    assert "write its predict() method" in caplog.text
    assert LabelStudioMLBase("4").fit("START_TRAINING", {}) is None

    @predict_fn
    def guess(tasks: list[Any], context: Any, helper: LabelStudioMLBase, **kwargs: Any) -> list[Any]:
        return [helper.project_id, context, kwargs]

    @update_fn
    def learn(event: str, data: dict[str, Any], helper: LabelStudioMLBase, **kwargs: Any) -> Any:
        return helper.project_id, event, data, kwargs

    model = LabelStudioMLBase("4")
    assert model.predict([], context={"result": []}, a=1) == ["4", {"result": []}, {"a": 1}]
    assert model.fit("START_TRAINING", {"b": 2}, c=3) == ("4", "START_TRAINING", {"b": 2}, {"c": 3})
    assert guess([], None, model) == ["4", None, {}]


# Label Studio


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("http://from-setup", "from setup")),
        ({"LABEL_STUDIO_URL": "", "LABEL_STUDIO_API_KEY": ""}, ("http://from-setup", "from setup")),
        ({"LABEL_STUDIO_URL": "http://url", "LABEL_STUDIO_API_KEY": "key"}, ("http://url", "key")),
        ({"LABEL_STUDIO_HOST": "http://host", "LABEL_STUDIO_ACCESS_TOKEN": "token"}, ("http://host", "token")),
        (
            {
                "LABEL_STUDIO_URL": "http://url",
                "LABEL_STUDIO_HOST": "http://host",
                "LABEL_STUDIO_API_KEY": "key",
                "LABEL_STUDIO_ACCESS_TOKEN": "token",
            },
            ("http://url", "key"),
        ),
    ],
    ids=str,
)
def test_where_label_studio_is(
    environment: dict[str, str], expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    LabelStudioMLBase("4").set("hostname", "http://from-setup")
    LabelStudioMLBase("4").set("access_token", "from setup")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    model = LabelStudioMLBase("4")
    assert (model.get_label_studio_hostname(), model.get_label_studio_access_token()) == expected


def test_without_setup_nothing_is_known_of_label_studio() -> None:
    model = LabelStudioMLBase("4")
    assert (model.get_label_studio_hostname(), model.get_label_studio_access_token()) == ("", "")


class Files(BaseHTTPRequestHandler):
    """Gives a file to who brings the token, as Label Studio does."""

    content: ClassVar[dict[str, bytes]] = {
        "/data/upload/4/text.txt": "größer".encode(),
        "/data/upload/4/x.bin": b"\xff\x00",
    }

    def do_GET(self) -> None:
        body = self.content.get(self.path)
        allowed = self.headers.get("Authorization") == "Token legacy"
        self.send_response(401 if not allowed else 200 if body else 404)
        self.end_headers()
        self.wfile.write(body if body and allowed else b"")

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def label_studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "downloads"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def model(label_studio: str) -> LabelStudioMLBase:
    made = LabelStudioMLBase("4")
    made.set("hostname", label_studio)
    made.set("access_token", "legacy")
    return made


def test_get_local_path_uses_what_setup_handed_over(model: LabelStudioMLBase) -> None:
    assert Path(model.get_local_path("/data/upload/4/text.txt")).read_text(encoding="utf-8") == "größer"


def test_get_local_path_says_what_is_missing(label_studio: str) -> None:
    with pytest.raises(FileNotFoundError, match="LABEL_STUDIO_URL"):
        LabelStudioMLBase("5").get_local_path("/data/upload/4/text.txt")
    with pytest.raises(FileNotFoundError, match="LABEL_STUDIO_API_KEY"):
        LabelStudioMLBase("5").get_local_path("/data/upload/4/text.txt", ls_host=label_studio)


@pytest.mark.parametrize(
    ("data", "loaded"),
    [
        ({}, {}),
        ({"a": None, "b": 5, "c": True, "d": "", "e": "text"}, {"a": None, "b": 5, "c": True, "d": "", "e": "text"}),
        ({"a": "/data/upload/4/text.txt"}, {"a": "größer"}),
        (
            {"a": ["/data/upload/4/text.txt", None, {"b": "/data/upload/4/text.txt"}]},
            {"a": ["größer", None, {"b": "größer"}]},
        ),
        ({"a": "/data/upload/4/gone.txt"}, {"a": "/data/upload/4/gone.txt"}),
        ({"a": "/data/upload/4/x.bin"}, {"a": "/data/upload/4/x.bin"}),
        ({"a": "/etc/hostname"}, {"a": "/etc/hostname"}),
    ],
    ids=str,
)
def test_preload_task_data(model: LabelStudioMLBase, data: dict[str, Any], loaded: dict[str, Any]) -> None:
    before = json.dumps(data)
    assert model.preload_task_data({"id": 1, "data": data}) == loaded
    assert json.dumps(data) == before


def test_preload_task_data_in_parts(model: LabelStudioMLBase) -> None:
    task: dict[str, Any] = {"id": 1, "data": {"a": "/data/upload/4/text.txt", "b": "/data/upload/4/x.bin"}}
    assert model.preload_task_data(task, "/data/upload/4/text.txt") == "größer"
    path = model.preload_task_data(task, task["data"]["b"], read_file=False)
    assert Path(path).read_bytes() == b"\xff\x00"


def test_a_representation_names_class_and_project() -> None:
    assert repr(LabelStudioMLBase("4.17")) == "LabelStudioMLBase(project_id='4.17')"


Captured = Callable[[str], dict[str, Any]]


def test_the_labels_of_a_captured_config(captured: Captured) -> None:
    model = LabelStudioMLBase("4", captured("setup")["schema"])
    names = ["person", "bicycle", "cat", "dog", "bus"]
    assert model.build_label_map("animal_label", names) == {
        "person": "Other",
        "cat": "Cat",
        "dog": "Dog",
        "bus": "Other",
    }
