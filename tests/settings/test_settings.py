from pathlib import Path

import pytest

from yolo_backend.errors import ConfigError
from yolo_backend.settings import PROJECT_DIR, Settings, load_settings, settings_page


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in settings_page().splitlines():
        for name in line.split("|")[1].split(" or ") if line.startswith("| `") else ():
            monkeypatch.delenv(name.strip(" `"), raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"port": 9090, "model_score_threshold": 0.5, "label_studio_url": None, "allow_custom_model_path": True}),
        ({"PORT": "", "BASIC_AUTH_USER": "", "BASIC_AUTH_PASS": ""}, {"port": 9090, "basic_auth_user": None}),
        ({"PORT": "80", "LOG_LEVEL": "debug", "THREADS": "16"}, {"port": 80, "log_level": "DEBUG", "threads": 16}),
        ({"LABEL_STUDIO_URL": "http://ls:8080/sub/"}, {"label_studio_url": "http://ls:8080/sub"}),
        ({"LABEL_STUDIO_HOST": "https://ls"}, {"label_studio_url": "https://ls"}),
        ({"MODEL_ROOT": "/app/models"}, {"model_root": Path("/app/models")}),
        (
            {"ALLOW_CUSTOM_MODEL_PATH": "false", "DEBUG_PLOT": "true"},
            {"allow_custom_model_path": False, "debug_plot": True},
        ),
        ({"ANY": "PARAMETER"}, {"port": 9090}),
    ],
)
def test_settings_come_from_the_environment(
    variables: dict[str, str], expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"])
def test_secrets_are_read_and_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cret")
    settings = load_settings()
    assert settings.label_studio_api_key is not None
    assert settings.label_studio_api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PORT": "abc"}, "PORT='abc'"),
        ({"PORT": "70000"}, "PORT='70000'"),
        ({"MODEL_SCORE_THRESHOLD": "50"}, "MODEL_SCORE_THRESHOLD='50'"),
        ({"DEVICE": "gpu"}, "DEVICE='gpu': auto, cpu, mps, cuda or cuda:1 and so on is expected"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL='LOUD'"),
        ({"LABEL_STUDIO_URL": "label-studio:8080"}, "LABEL_STUDIO_URL='label-studio:8080': an address like"),
        ({"LABEL_STUDIO_URL": "http://ls:99999"}, "LABEL_STUDIO_URL='http://ls:99999'"),
        ({"LABEL_STUDIO_HOST": "ftp://x"}, "LABEL_STUDIO_URL"),
        ({"BASIC_AUTH_USER": "me"}, "BASIC_AUTH_PASS is not set"),
        ({"BASIC_AUTH_PASS": "s3cret"}, "BASIC_AUTH_USER is not set"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_page_of_settings_is_up_to_date() -> None:
    written = (PROJECT_DIR / "docs" / "settings.md").read_text()
    assert written == settings_page(), "run: python -m yolo_backend settings > docs/settings.md"


def test_settings_can_be_given_by_name() -> None:
    assert Settings(port=1, label_studio_url="http://ls").label_studio_url == "http://ls"
