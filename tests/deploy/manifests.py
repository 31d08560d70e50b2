"""What `kubectl kustomize` makes of the manifests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"

Manifest = dict[str, Any]


def kubectl() -> str:
    """The command; requirements-test.txt brings it."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "there is no kubectl: install requirements-test.txt, or kubectl 1.28 or newer from elsewhere"
    return found


def kustomized(directory: Path) -> list[Manifest]:
    done = subprocess.run([kubectl(), "kustomize", str(directory)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


@lru_cache
def rendered(overlay: str) -> list[Manifest]:
    return kustomized(MANIFESTS / "overlays" / overlay)


def of_kind(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found
