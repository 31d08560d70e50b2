"""What the image installs: locked by hash, and what the requirements ask for."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCKS = ("requirements.lock", "requirements-build.lock")


def entries(lock: str) -> list[str]:
    """The entries of a lock file, each with the lines of its hashes."""
    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def requirement(entry: str) -> Requirement:
    return Requirement(entry.split("\\\n")[0].strip())


def lock(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def asked_for() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line and line[0] not in "#.-"]
    # The list of the SDK's pyproject.toml, without a TOML reader, which Python 3.10 doesn't have.
    sdk = (ROOT / "sdk" / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = re.search(r"^dependencies = \[\n(.*?)^\]", sdk, flags=re.MULTILINE | re.DOTALL)
    assert dependencies
    return [Requirement(one) for one in listed + re.findall(r'"(.+)"', dependencies[1])]


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_is_one_version_with_hashes_and_from_no_named_place(name: str) -> None:
    for entry in entries(lock(name)):
        assert requirement(entry).url is None
        assert re.fullmatch(r"==[^,*]+", str(requirement(entry).specifier)), entry
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)) == entry.count("--hash") > 0
    assert "://" not in lock(name)
    assert "--index" not in lock(name)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_lock_has_what_is_asked_for_on_every_python(python: str, machine: str) -> None:
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    locked = defaultdict(list)
    for entry in entries(lock("requirements.lock")):
        one = requirement(entry)
        if one.marker is None or one.marker.evaluate(environment):
            locked[canonicalize_name(one.name)].append(next(iter(one.specifier)).version)
    assert {name for name, versions in locked.items() if len(versions) > 1} == set()
    for wanted in asked_for():
        if wanted.marker is None or wanted.marker.evaluate(environment):
            (version,) = locked[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(version), f"{wanted} has {version}: make lock"


def test_the_image_installs_nothing_without_a_hash_but_pytorch_from_an_index_of_its_own() -> None:
    commands = [command for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines() for command in re.split("&&|;", line)]
    installs = [
        command for command in commands if re.search(r"pip install|\$INSTALL", command) and "ARG " not in command
    ]
    checked = [command for command in installs if "--require-hashes" in command or "--no-index" in command]
    assert len(checked) == 4
    (without,) = [command for command in installs if command not in checked]
    assert '--index-url "$TORCH_INDEX_URL" $(grep' in without


@pytest.mark.parametrize("kept", ["numpy", "nvidia-ml-py", "sympy", "openvino", "ultralytics-opencv-headless"])
def test_an_index_for_pytorch_replaces_pytorch_alone(kept: str) -> None:
    (program,) = re.findall(r"awk '(.+)'", DOCKERFILE)
    rest = subprocess.run(["awk", program], input=lock("requirements.lock"), capture_output=True, text=True, check=True)
    names = {canonicalize_name(requirement(entry).name) for entry in entries(rest.stdout)}
    everything = {canonicalize_name(requirement(entry).name) for entry in entries(lock("requirements.lock"))}
    assert kept in names
    replaced = everything - names
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= replaced
    assert {name.split("-")[0] for name in replaced} == {"torch", "torchvision", "triton", "nvidia", "cuda"}
    (pattern,) = re.findall(r"grep -oE '(.+?)'", DOCKERFILE)
    versions = subprocess.run(
        ["grep", "-oE", pattern], input=lock("requirements.lock"), capture_output=True, text=True, check=True
    ).stdout.split()
    assert [one.split("==")[0] for one in versions] == ["torch", "torchvision"]


def test_only_the_volumes_belong_to_the_user_of_the_image() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    owned = re.findall(r"install -d -o 10001 -g 10001 (.+)", final)
    assert owned == ["/data /app/models"]
    assert "chown" not in final
    assert "chmod" not in final.replace("chmod -R a+rX .", "")
    assert re.findall(r"^USER (.+)$", final, flags=re.MULTILINE) == ["10001:10001"]
    assert final.index("USER 10001") > final.rindex("RUN ")
