"""The Dockerfile, .dockerignore and docker-compose.yml hold together, and what goes into the image is all it needs."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from yolo_backend.settings import Settings, load_settings
from yolo_backend.settings.environment import environment_name

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "examples" / "images"
BESIDE_LABEL_STUDIO = (ROOT / "docker-compose.label-studio.yml").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

# The environment of the Kubernetes manifests that are in use for such a service. Its volumes are empty directories.
MANIFEST = {
    "BASIC_AUTH_USER": "",
    "BASIC_AUTH_PASS": "",
    "LOG_LEVEL": "DEBUG",
    "ANY": "PARAMETER",
    "WORKERS": "1",
    "THREADS": "8",
    "LABEL_STUDIO_URL": "http://host.docker.internal:8080",
    "LABEL_STUDIO_API_KEY": "",
    "ALLOW_CUSTOM_MODEL_PATH": "true",
    "DEBUG_PLOT": "false",
    "MODEL_SCORE_THRESHOLD": "0.5",
}


def compose_environment() -> dict[str, Any]:
    """The service's environment with every setting in it, also those that are commented out."""
    everything = re.sub(r"^( +)# ([A-Z_0-9]+: )", r"\1\2", COMPOSE, flags=re.MULTILINE)
    return yaml.safe_load(everything)["services"]["yolo"]["environment"]


def image_environment() -> dict[str, str]:
    """What the image itself sets."""
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]))


def in_build_context(path: str) -> bool:
    """Whether .dockerignore lets a file into the build: of the patterns that match it or a parent, the last decides."""
    candidates = [path, *(parent.as_posix() for parent in Path(path).parents)]
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        expression = expression.replace(r"\[", "[").replace(r"\]", "]")
        if any(re.fullmatch(expression, candidate) for candidate in candidates):
            kept = line.startswith("!")
    return kept


def copied_into_image() -> list[str]:
    """The files that the Dockerfile copies out of the build context."""
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    paths = [ROOT / source for line in sources for source in line.split()]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if not file.is_dir()]
    return [name for name in (file.relative_to(ROOT).as_posix() for file in files) if in_build_context(name)]


def test_compose_names_every_setting_and_nothing_else() -> None:
    assert set(compose_environment()) == {environment_name(field) for field in Settings.model_fields}


def test_settings_that_compose_has_commented_out_show_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = compose_environment()
    of_image = image_environment()
    given = set(yaml.safe_load(COMPOSE)["services"]["yolo"]["environment"])
    has_default = {environment_name(name) for name, field in Settings.model_fields.items() if field.default is not None}
    for name in environment:
        monkeypatch.delenv(name, raising=False)
    expected = load_settings().model_copy(
        update={"model_root": Path(of_image["MODEL_ROOT"]), "model_dir": Path(of_image["MODEL_DIR"])}
    )
    for name in (environment.keys() & has_default) - given:
        assert not isinstance(environment[name], bool), f"{name} needs quotes: an environment holds no booleans"
        monkeypatch.setenv(name, str(environment[name]))
    assert load_settings() == expected


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as Docker does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"twice in line {node.start_mark.line + 1}: {keys}"
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize("compose", [COMPOSE, BESIDE_LABEL_STUDIO], ids=["alone", "beside Label Studio"])
def test_compose_has_no_key_twice(compose: str) -> None:
    assert yaml.load(compose, _Strict)["services"]


def test_compose_gives_a_service_time_to_end() -> None:
    service = yaml.safe_load(COMPOSE)["services"]["yolo"]
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > int(compose_environment()["GRACEFUL_TIMEOUT"])


def test_label_studio_and_the_service_find_each_other() -> None:
    services = yaml.safe_load(BESIDE_LABEL_STUDIO)["services"]
    service, label_studio = services["yolo"], services["label-studio"]
    assert service["extends"] == {"file": "docker-compose.yml", "service": "yolo"}
    (port,) = label_studio["ports"]
    assert service["environment"]["LABEL_STUDIO_URL"] == f"http://label-studio:{port.rpartition(':')[2]}"
    # The same variable is the token on both sides.
    token = re.escape("${LABEL_STUDIO_API_KEY:")
    assert re.match(token, label_studio["environment"]["LABEL_STUDIO_USER_TOKEN"])
    assert re.match(token, yaml.safe_load(COMPOSE)["services"]["yolo"]["environment"]["LABEL_STUDIO_API_KEY"])
    # Volumes of the service that is extended must be named here again.
    named = {volume.partition(":")[0] for one in (service, label_studio) for volume in one.get("volumes", ())}
    extended = {volume.partition(":")[0] for volume in yaml.safe_load(COMPOSE)["services"]["yolo"]["volumes"]}
    assert named | extended == set(yaml.safe_load(BESIDE_LABEL_STUDIO)["volumes"])
    example = (ROOT / "deploy" / "label-studio.env.example").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):\?", BESIDE_LABEL_STUDIO))
    assert wanted <= set(re.findall(r"^(\w+)=", example, flags=re.MULTILINE))


def test_compose_volumes_are_where_the_image_keeps_weights_and_data() -> None:
    service = yaml.safe_load(COMPOSE)["services"]["yolo"]
    mounts = [Path(volume.split(":")[1]) for volume in service["volumes"]]
    code = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, flags=re.MULTILINE)[-1]
    for variable in ("MODEL_ROOT", "MODEL_DIR"):
        assert any(Path(image_environment()[variable]).is_relative_to(mount) for mount in mounts)
    assert not any(Path(code).is_relative_to(mount) for mount in [*mounts, Path("/app"), Path("/data")])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model.py", True),
        ("models/demo-detect.pt", True),
        ("sdk/pyproject.toml", True),
        ("sdk/label_studio_ml/api.py", True),
        ("sdk/label_studio_ml/templates/.dockerignore.tmpl", True),
        ("yolo_backend/controls/base.py", True),
        ("yolo_backend/controls/__pycache__/base.cpython-312.pyc", False),
        ("models/train_demo.py", False),
        ("models/scenes/codes.py", False),
        ("sdk/tests/test_api.py", False),
        ("tests/deploy/test_container.py", False),
        ("examples/images/photo-01.jpg", False),
        ("data/cache.db", False),
        (".env", False),
        (".git/config", False),
        (".venv/bin/python", False),
        ("a-file-of-yours.pt", False),
    ],
)
def test_build_context_holds_what_the_image_needs_and_no_more(path: str, expected: bool) -> None:
    assert in_build_context(path) is expected


# Run where only the image's files are: a request in, the answer out.
PREDICT = """
import json, sys
import _wsgi
answer = _wsgi.app.test_client().post("/predict", json=json.load(sys.stdin))
print(answer.status_code, answer.text)
"""


def test_files_of_the_image_predict_with_empty_volumes(tmp_path: Path) -> None:
    code, models, data = (tmp_path / name for name in ("code", "models", "data"))
    for name in copied_into_image():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, code / name)
    models.mkdir()
    data.mkdir()
    label_config = (
        '<View><Image name="image" value="$image"/>'
        '<RectangleLabels name="label" toName="image" model_path="demo-detect.pt" model_score_threshold="0.25">'
        '<Label value="Square" predicted_values="qr_code"/><Label value="barcode"/></RectangleLabels></View>'
    )
    image = "data:image/jpeg;base64," + base64.b64encode((IMAGES / "photo-01.jpg").read_bytes()).decode()
    names = {environment_name(field) for field in Settings.model_fields}
    run = subprocess.run(
        [sys.executable, "-c", PREDICT],
        input=json.dumps({"tasks": [{"id": 1, "data": {"image": image}}], "label_config": label_config}),
        env={key: value for key, value in os.environ.items() if key not in names}
        | MANIFEST
        | {"MODEL_ROOT": str(models), "MODEL_DIR": str(data / "models"), "PYTHONPATH": str(tmp_path)}
        | {"RUNTIME": "pytorch"},  # else the process would end once it has made a network for OpenVINO
        cwd=code,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    status, answer = run.stdout.splitlines()[-1].split(" ", 1)
    assert status == "200", answer
    (result,) = json.loads(answer)["results"]
    assert result, run.stderr
    found = {label for region in result["result"] for label in region["value"]["rectanglelabels"]}
    truth = json.loads((IMAGES / "truth.json").read_text(encoding="utf-8"))["photo-01.jpg"]["objects"]
    labels = {"qr_code": "Square", "barcode": "barcode"}
    assert found == {labels[thing["label"]] for thing in truth}
