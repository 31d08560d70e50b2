"""Every environment variable of the service, typed, checked and documented in one class.

``docs/settings.md`` is written from this class by ``python -m yolo_backend settings``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from yolo_backend.settings.hosts import Hosts, origin, parse_hosts

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WHEEL = _PACKAGE / "_project"
PROJECT_DIR = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent
"""Where gunicorn.conf.py and the bundled weights are: this repository, or what an installed package has of it."""
WORKING_DIR = Path.cwd() if PROJECT_DIR == _IN_WHEEL else PROJECT_DIR
"""Where users keep weights and the service its data, unless settings say otherwise; the service's current directory."""
BUNDLED_MODELS = PROJECT_DIR / "models"


class Settings(BaseSettings):
    """The service's settings. An environment variable that is set to nothing counts as not set."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True, protected_namespaces=()
    )

    # Web server
    port: int = Field(9090, ge=1, le=65535, description="Port the service listens on.")
    workers: int = Field(
        1, ge=1, le=64, description="Worker processes. Each holds its own copy of the models; more threads are cheaper."
    )
    threads: int = Field(
        8, ge=2, le=256, description="Predict requests that a worker works on at once; others wait for their turn."
    )
    max_concurrent_predicts: int = Field(
        64,
        ge=1,
        le=1024,
        description="Predict requests that a worker takes at once, those that wait included; more get status 503 at once.",
    )
    predict_deadline: float = Field(
        90,
        gt=0,
        description="Seconds from the arrival of a predict request to its answer. Label Studio hangs up after 100 "
        "(its `ML_TIMEOUT_PREDICT`); set this well below. What isn't ready goes on in the background.",
    )
    result_cache_mb: float = Field(
        256,
        ge=0,
        description="Memory for predictions that may be asked for again, per worker, in megabytes (10^6 bytes).",
    )
    result_cache_seconds: float = Field(
        3600,
        gt=0,
        description="Seconds for which a prediction is kept: an image that changes under its name is seen then.",
    )
    graceful_timeout: int = Field(
        25,
        ge=1,
        le=3600,
        description="Seconds to end after SIGTERM: requests are answered with what is ready, and the rest is posted.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="How much is logged."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How it is logged: lines for people, or a JSON object per line."
    )
    basic_auth_user: str | None = Field(
        None, description="User name that Label Studio must send. Set both this and `BASIC_AUTH_PASS`, or neither."
    )
    basic_auth_pass: SecretStr | None = Field(None, description="Password that Label Studio must send.")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Reverse proxies in front that add to `X-Forwarded-For`: who tries passwords is told by the address "
        "that the outermost of them saw. 0: by the address that connects.",
    )

    allowed_hosts: str = Field(
        "",
        description="Names under which this service may be asked while no password is set, separated by commas; "
        "`*.example.com` for all below it, `*` for every name. Addresses, names without a dot, names of private networks "
        "(`.local`, `.internal`, `.svc`, `.cluster.local` and the like) and this machine's own name always may.",
    )

    # Limits of what a request may ask for
    client_timeout: float = Field(
        30, gt=0, description="Seconds that a client may take to send a request, and again to take the answer."
    )
    max_request_mb: float = Field(
        64,
        gt=0,
        description="Largest body of a request, in megabytes (10^6 bytes); more gets status 413. 100,000 tasks have about 50.",
    )
    max_tasks: int = Field(
        100_000,
        ge=1,
        description="Tasks of one request that are predicted; those after them stay without a prediction, for the next click.",
    )
    max_config_kb: float = Field(
        1000, gt=0, description="Longest labeling config, in thousands of characters; a longer one is not read."
    )
    max_controls: int = Field(100, ge=1, description="Most control tags of a labeling config.")
    max_labels: int = Field(
        5000, ge=1, description="Most labels of a labeling config, with all names that `predicted_values` lists."
    )
    max_imgsz: int = Field(
        2048,
        ge=32,
        le=8192,
        description="Largest `model_imgsz` that a labeling config gets; memory grows with its square.",
    )
    max_pages: int = Field(100, ge=1, description="Most pages of one task (`valueList`).")
    max_regions: int = Field(
        10_000,
        ge=1,
        description="Most regions of one task, and the largest `model_max_det`; a task with more is left out.",
    )

    # Label Studio
    label_studio_url: str | None = Field(
        None,
        validation_alias=AliasChoices("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        description="Where this service reaches Label Studio, with the sub-path if it has one; it may be anywhere. "
        "Not set: the address that Label Studio itself sends when it connects, as far as `MEDIA_HOSTS` allows it.",
    )
    label_studio_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"),
        description="Opens the images that Label Studio keeps: a personal access token or a legacy token "
        "(Account & Settings). Sent to `LABEL_STUDIO_URL` alone. Not set: the token that Label Studio hands over.",
    )

    max_answer_mb: float = Field(
        32,
        gt=0,
        description="Largest answer of Label Studio's API that is read, in megabytes (10^6 bytes). While it is read it may "
        "take 24 times as much memory.",
    )

    # Models
    model_root: Path = Field(
        WORKING_DIR / "models",
        description="Directory of your weights; `model_path` in a labeling config names a file in it.",
    )
    model_dir: Path = Field(
        WORKING_DIR / "data",
        description="Directory the service writes to: its caches, networks for OpenVINO, and debug pictures.",
    )
    default_detect_model: str = Field(
        "yolo26n.pt", description="Weights for object detection when a control has no `model_path`."
    )
    default_segment_model: str = Field("yolo26n-seg.pt", description="The same for polygons and masks.")
    default_pose_model: str = Field("yolo26n-pose.pt", description="The same for key points.")
    default_obb_model: str = Field("yolo26n-obb.pt", description="The same for rotated boxes.")
    default_classify_model: str = Field("yolo26n-cls.pt", description="The same for choices and taxonomies.")
    allow_custom_model_path: bool = Field(
        True, description="Whether a labeling config may choose weights by `model_path`. `false`: the defaults alone."
    )
    allow_downloads: bool = Field(
        True,
        description="Whether official weights that are asked for by name, and are not there, are fetched from their "
        "authors. Nothing else is ever fetched or installed.",
    )
    model_sha256: str | None = Field(
        None,
        description="SHA-256 digests of the weights that may be loaded, in hex, separated by commas. Not set: all that are "
        "there, but no TensorRT engines. The digest of weights that are refused is in the message.",
    )
    model_score_threshold: float = Field(
        0.5, ge=0, le=1, description="Detections below this score are dropped, where a labeling config says nothing."
    )
    model_cache_size: int = Field(
        4, ge=1, le=64, description="Models kept in memory; the one not used for longest goes first."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$",
        description="Where models run: `cpu`, `cuda`, `cuda:1` and so on, `mps`; `auto`: a GPU if there is one.",
    )
    runtime: Literal["auto", "pytorch", "openvino", "onnx"] = Field(
        "auto",
        description="What runs PyTorch weights. `auto`: OpenVINO on a CPU, PyTorch elsewhere. The network for OpenVINO is "
        "made at first use in the background, kept under `MODEL_DIR/openvino`, and PyTorch answers until it is there. "
        "`onnx`: the same with ONNX Runtime, for machines that OpenVINO is not for; `pip install onnx onnxruntime` first.",
    )
    batch_size: int = Field(8, ge=1, le=256, description="Images that go through a model together.")

    # Images
    media_hosts: str = Field(
        "public",
        description="Servers that images and videos may be fetched from, beside `LABEL_STUDIO_URL`: a list separated by "
        "commas of `public` (every public address), names (`*.example.com` for all below), addresses and networks "
        "(`10.0.0.0/8`), names and addresses with a port if you like (`minio:9000`); `*` for every server, `none` for no "
        "other. Checked for the address that a connection really goes to, at every redirect.",
    )
    local_files_document_root: Path | None = Field(
        None,
        validation_alias=AliasChoices("LOCAL_FILES_DOCUMENT_ROOT", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"),
        description="Label Studio's local-files directory, if it is mounted here too. "
        "Files under it are read from disk; nothing else on this machine ever is.",
    )
    fetch_threads: int = Field(
        8,
        ge=1,
        le=256,
        description="Images that are fetched while others are predicted. More help where images are slow to come.",
    )
    connect_timeout: float = Field(5, gt=0, description="Seconds to wait for a connection when an image is fetched.")
    download_timeout: float = Field(30, gt=0, description="Seconds one image may take to arrive, all in all.")
    max_download_mb: float = Field(100, gt=0, description="Largest file that is fetched, in megabytes (10^6 bytes).")
    max_image_megapixels: float = Field(
        100,
        gt=0,
        description="Largest image that is decoded, in megapixels (10^6), by its header, and the most that are decoded at "
        "the same time. Decoding takes up to 16 bytes of memory for a pixel.",
    )
    max_video_frames: int = Field(
        200_000, ge=1, description="Longest video that is looked at, in frames; 200,000 are two hours at 25 a second."
    )

    # Debugging
    debug_plot: bool = Field(
        False,
        description="Write each image with what was found drawn on it to `MODEL_DIR/debug`. Slow; fills the disk.",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("label_studio_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number, or too large
            usable = False
        if not usable:
            raise ValueError("an address like http://label-studio:8080 is expected")
        return value.rstrip("/")

    @field_validator("model_sha256")
    @classmethod
    def _digests(cls, value: str | None) -> str | None:
        for digest in (value or "").replace(",", " ").split():
            if not re.fullmatch("[0-9a-fA-F]{64}", digest):
                raise ValueError(f"{digest!r} is no SHA-256 digest: 64 hexadecimal digits are expected")
        return value

    @cached_property
    def listed_weights(self) -> frozenset[str]:
        """The digests of the weights that may be loaded; empty if all may."""
        return frozenset((self.model_sha256 or "").lower().replace(",", " ").split())

    @field_validator("media_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        parse_hosts(value)
        return value

    @cached_property
    def hosts(self) -> Hosts:
        """The servers that may be contacted."""
        return parse_hosts(self.media_hosts, origin(self.label_studio_url) if self.label_studio_url else None)

    @property
    def secrets(self) -> frozenset[str]:
        """Words that no log may show: the key, the password, and the header that basic auth makes of it."""
        words = {secret.get_secret_value() for secret in (self.label_studio_api_key, self.basic_auth_pass) if secret}
        if self.basic_auth_pass is not None:
            pair = f"{self.basic_auth_user}:{self.basic_auth_pass.get_secret_value()}".encode()
            words.add(b64encode(pair).decode())
        return frozenset(words)
