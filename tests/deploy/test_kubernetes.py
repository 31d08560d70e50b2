"""The Kubernetes manifests: what `kubectl kustomize` makes of them, against Kubernetes' schemas and against the service."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from label_studio_ml.api import init_app

from model import YOLO
from tests.deploy.manifests import MANIFESTS, Manifest, container, kustomized, of_kind, rendered
from yolo_backend import __version__
from yolo_backend.serving.dispatcher import get_dispatcher
from yolo_backend.serving.routes import add_routes
from yolo_backend.settings import Settings, load_settings
from yolo_backend.settings.environment import environment_name

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OVERLAYS = sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml"))
VERSIONS = ["1.28", "1.30", "1.32", "1.34", kubernetes_validate.latest_version()]
"""Of Kubernetes: from the oldest that is still met to the newest that the schemas know."""


def quantity(text: str) -> float:
    """A number of Kubernetes', such as 500m or 2Gi."""
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|)", text)
    assert found, text
    return float(found[1]) * {"m": 1e-3, "": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[found[2]]


def validate(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_overlays_are_all_there() -> None:
    assert {"autoscale", "cpu", "gpu", "nodeport"} <= set(OVERLAYS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(overlay: str, version: str) -> None:
    validate(rendered(overlay), version)


def test_the_schemas_refuse_what_is_wrong() -> None:
    for change in ({"replicas": "three"}, {"replicaCount": 3}):
        manifests = deepcopy(rendered("cpu"))
        of_kind(manifests, "Deployment")["spec"].update(change)
        with pytest.raises(kubernetes_validate.ValidationError):
            validate(manifests, VERSIONS[-1])


@pytest.mark.parametrize("components", [*([one] for one in COMPONENTS), COMPONENTS], ids=lambda names: "+".join(names))
def test_components_can_be_added_to_the_overlay_that_has_everything(tmp_path: Path, components: list[str]) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
    (tmp_path / "kubernetes" / "mine").mkdir()
    (tmp_path / "kubernetes" / "mine" / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": ["../overlays/autoscale"],
                "components": [f"../components/{name}" for name in components],
                "namespace": "label-studio",
            }
        )
    )
    manifests = kustomized(tmp_path / "kubernetes" / "mine")
    validate(manifests, VERSIONS[-1])
    assert manifests != rendered("autoscale")


def test_components_that_are_suggested_in_comments_are_there() -> None:
    suggested = set()
    for file in MANIFESTS.rglob("kustomization.yaml"):
        for path in re.findall(r"^#? *- (\.\./\.\./components/[\w-]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert (file.parent / path / "kustomization.yaml").exists(), f"{file}: {path}"
            suggested.add(Path(path).name)
    assert suggested == set(COMPONENTS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_selects_the_pods(overlay: str) -> None:
    manifests = rendered(overlay)
    deployment = of_kind(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert of_kind(manifests, "Service")["spec"]["selector"].items() <= labels
    assert of_kind(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels
    ports = {port["name"]: port["containerPort"] for port in container(manifests)["ports"]}
    (port,) = of_kind(manifests, "Service")["spec"]["ports"]
    assert ports[port["targetPort"]] == Settings.model_fields["port"].default


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_those_of_manifests_that_are_in_use(overlay: str) -> None:
    """Whoever has a Deployment of the upstream example can apply ours over it: a selector can't be changed."""
    manifests = rendered(overlay)
    deployment = of_kind(manifests, "Deployment")
    assert deployment["metadata"]["name"] == "yolo"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "yolo"}}
    assert of_kind(manifests, "Service")["metadata"]["name"] == "yolo-service"


def test_the_service_is_reached_from_inside_alone_unless_nodeport_is_chosen() -> None:
    for overlay in OVERLAYS:
        spec = of_kind(rendered(overlay), "Service")["spec"]
        (port,) = spec["ports"]
        expected = ("NodePort", 30090) if overlay == "nodeport" else ("ClusterIP", None)
        assert (spec["type"], port.get("nodePort")) == expected
        assert port["port"] == 9090


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_ours_and_can_be_used(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = rendered(overlay)
    configured = of_kind(manifests, "ConfigMap")
    sources = container(manifests)["envFrom"]
    assert [source["configMapRef"]["name"] for source in sources if "configMapRef" in source] == [
        configured["metadata"]["name"]
    ]
    names = {environment_name(field) for field in Settings.model_fields}
    assert configured["data"].keys() <= names
    secrets = {"LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"}
    assert secrets <= names
    assert not configured["data"].keys() & secrets, "a ConfigMap is no place for secrets"
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in configured["data"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    pod = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    before = int(container(manifests)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert settings.predict_deadline < settings.graceful_timeout, "who waits must get the answer that is due"
    assert before + settings.graceful_timeout < pod["terminationGracePeriodSeconds"]
    mounts = {mount["mountPath"] for mount in container(manifests)["volumeMounts"]}
    for directory in (settings.model_root, settings.model_dir):
        assert any(directory.is_relative_to(mount) for mount in mounts)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_as_restricted_as_the_image_allows(overlay: str) -> None:
    pod = of_kind(rendered(overlay), "Deployment")["spec"]["template"]["spec"]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, flags=re.MULTILINE)
    context = pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (
        int(user[0]),
        int(user[1]),
        int(user[1]),
    )
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container(rendered(overlay))["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # The code must not lie under a volume.
    code = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, flags=re.MULTILINE)[-1]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container(rendered(overlay))["volumeMounts"]}
    assert set(mounts.values()) == volumes
    assert "/tmp" in mounts
    assert not any(Path(code).is_relative_to(mount) for mount in mounts)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_resources_are_within_their_limits(overlay: str) -> None:
    resources = container(rendered(overlay))["resources"]
    requests, limits = resources["requests"], resources["limits"]
    assert quantity(requests["cpu"]) > 0
    assert quantity(requests["memory"]) <= quantity(limits["memory"])
    assert ("nvidia.com/gpu" in limits) is (overlay == "gpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_this_version(overlay: str) -> None:
    assert container(rendered(overlay))["image"] == f"yolo-backend:{__version__}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_what_needs_no_password(overlay: str) -> None:
    app = init_app(YOLO, basic_auth_user="annotator", basic_auth_pass="right")
    add_routes(app, get_dispatcher())
    client = app.test_client()
    probes = {name: container(rendered(overlay))[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    for probe in probes.values():
        assert client.get(probe["httpGet"]["path"]).status_code in (200, 503)
        assert probe["httpGet"]["port"] == "http"
    assert client.get("/health").status_code == 200
    assert probes["liveness"]["httpGet"]["path"] == "/health", "a pod that is merely not ready must not be killed"
    assert probes["startup"]["httpGet"]["path"] == probes["readiness"]["httpGet"]["path"] == "/ready"
    # Prometheus is told where the metrics are.
    annotations = of_kind(rendered(overlay), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in {rule.rule for rule in app.url_map.iter_rules()}
    assert annotations["prometheus.io/port"] == str(container(rendered(overlay))["ports"][0]["containerPort"])


def test_the_autoscaler_alone_says_how_many_pods_there_are() -> None:
    manifests = rendered("autoscale")
    deployment = of_kind(manifests, "Deployment")
    assert "replicas" not in deployment["spec"], "every `kubectl apply` would undo what the autoscaler did"
    spec = of_kind(manifests, "HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert 1 < spec["minReplicas"] < spec["maxReplicas"]


def test_the_queue_metric_is_one_that_the_service_has() -> None:
    app = init_app(YOLO)
    add_routes(app, get_dispatcher())
    exported = app.test_client().get("/metrics").text
    component = (MANIFESTS / "components" / "queue-metric" / "kustomization.yaml").read_text(encoding="utf-8")
    adapter = yaml.safe_load(
        (MANIFESTS / "components" / "queue-metric" / "adapter-rule.yaml").read_text(encoding="utf-8")
    )
    (metric,) = set(re.findall(r"yolo_backend_\w+", component))
    assert f"# TYPE {metric} gauge\n" in exported
    (rule,) = adapter["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{metric}{{")


def documented() -> tuple[Manifest, str]:
    """The overlay and the patch that docs/deployment.md shows."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8"), re.DOTALL)
    (overlay,) = (block for block in blocks if "kind: Kustomization" in block)
    (patch,) = (block for block in blocks if "private-ca" in block)
    return yaml.safe_load(overlay), patch


def test_the_overlay_of_the_docs_is_one(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "yolo-backend" / "deploy" / "kubernetes")
    overlay, patch = documented()
    (tmp_path / "private-ca.yaml").write_text(patch)
    overlay["patches"] = [{"path": "private-ca.yaml"}]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    manifests = kustomized(tmp_path)
    validate(manifests, VERSIONS[-1])
    assert of_kind(manifests, "ConfigMap")["data"]["MEDIA_HOSTS"] == "public,minio.storage.svc"
    assert of_kind(manifests, "Service")["spec"]["type"] == "NodePort"
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {"label-studio"}
    pod = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    assert len(container(manifests)["volumeMounts"]) == len(pod["volumes"]) == 4


def test_the_docs_name_every_overlay_and_component() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) >= {*OVERLAYS, *COMPONENTS}
