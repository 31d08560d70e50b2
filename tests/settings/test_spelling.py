"""Which variables are said to be misspelt settings, and which are left alone."""

from __future__ import annotations

import os

import pytest

from yolo_backend.settings import Settings, environment_names
from yolo_backend.settings.spelling import misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MEDIA_HOST", "MEDIA_HOSTS"),
        ("MODEL_SCORE_TRESHOLD", "MODEL_SCORE_THRESHOLD"),
        ("LABEL_STUDIO_APIKEY", "LABEL_STUDIO_API_KEY"),
        ("LABEL_STUDIO_API_TOKEN", "LABEL_STUDIO_API_KEY"),
        ("LABEL_STUDIO_URI", "LABEL_STUDIO_URL"),
        ("label_studio_ulr", "LABEL_STUDIO_URL"),
        ("LABELSTUDIO_HOST", "LABEL_STUDIO_HOST"),
        ("DEFAULT_DETECTION_MODEL", "DEFAULT_DETECT_MODEL"),
        ("ALLOW_DOWNLOAD", "ALLOW_DOWNLOADS"),
        # Who sets both of these would have a service without a password.
        ("BASIC_AUTH_USERNAME", "BASIC_AUTH_USER"),
        ("BASIC_AUTH_PASSWORD", "BASIC_AUTH_PASS"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_one_that_is_meant(name: str, meant: str) -> None:
    (said,) = misspelt({name: "s3cret", "PATH": "/bin"})
    assert said.startswith(f"{name.upper()} is no setting and changes nothing; is {meant} meant?")
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "name",
    [
        # Shells, containers and Kubernetes.
        *("PATH", "HOME", "HOSTNAME", "LANG", "PYTHONPATH", "KUBERNETES_SERVICE_HOST", "KUBERNETES_PORT_443_TCP_ADDR"),
        # Services called label-studio, yolo-service, model-dir and media-host.
        *("LABEL_STUDIO_SERVICE_HOST", "LABEL_STUDIO_SERVICE_PORT", "LABEL_STUDIO_SERVICE_PORT_HTTP"),
        *("LABEL_STUDIO_PORT", "LABEL_STUDIO_PORT_8080_TCP", "LABEL_STUDIO_PORT_8080_TCP_ADDR"),
        *("YOLO_SERVICE_SERVICE_HOST", "MODEL_DIR_PORT", "MEDIA_HOST_PORT", "BASIC_AUTH_SERVICE_HOST"),
        # Label Studio's own.
        *("LABEL_STUDIO_USERNAME", "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USER_TOKEN", "LABEL_STUDIO_BASE_DATA_DIR"),
        *("LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED", "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN", "LABEL_STUDIO_IMAGE"),
        *("LABEL_STUDIO_ML_BLOCK_LOCAL_IP", "LABEL_STUDIO_SSRF_PROTECTION_ENABLED", "ML_TIMEOUT_PREDICT"),
        # The YOLO library's, the example's that this service takes the place of, and other programs'.
        *("YOLO_VERBOSE", "YOLO_CONFIG_DIR", "ANY", "LOG_CONFIG_PATH", "MODEL_NAME", "MODEL_PATH", "MODELS_DIR"),
        *("LOGLEVEL", "WORKER", "THREAD", "DEVICES", "PORTS", "RUNTIME_DIR", "WEB_CONCURRENCY", "REQUESTS_CA_BUNDLE"),
        *("TORCH_INDEX_URL", "PROMETHEUS_MULTIPROC_DIR", "JOB_COMPLETION_INDEX", "PROJECT", "SHARDS"),
        # This process's, whatever it is.
        *os.environ,
    ],
)
def test_what_belongs_to_others_is_left_alone(name: str) -> None:
    assert misspelt({name: "value"}) == []


def test_no_setting_is_taken_for_another() -> None:
    assert misspelt({name: "value" for field in Settings.model_fields for name in environment_names(field)}) == []


def test_nothing_is_said_where_nothing_is_lost() -> None:
    assert misspelt({"MEDIA_HOST": ""}) == []
    assert misspelt({"MEDIA_HOST": "minio", "MEDIA_HOSTS": "minio"}) == []
    assert misspelt({"LABEL_STUDIO_URI": "http://ls", "LABEL_STUDIO_HOST": "http://ls"}) == []
