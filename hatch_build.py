"""The dependencies of the package, taken from the requirements files, so that each is listed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

SDK = "label-studio-ml>=2,<3"
"""In place of ``./sdk``: a package can't depend on a directory. No package index has this version, so ``pip install``
must be given the directory as well."""


class RequirementsHook(MetadataHookInterface):
    """Fills in what pyproject.toml calls dynamic, beside the version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling."""
        metadata["dependencies"] = self._requirements("requirements.txt")
        metadata["optional-dependencies"] = {
            "ray": self._requirements("requirements-ray.txt"),
            "train": self._requirements("models/requirements-train.txt"),
        }

    def _requirements(self, file: str) -> list[str]:
        lines = (Path(self.root) / file).read_text(encoding="utf-8").splitlines()
        # An extra is added to the dependencies, so the files that a list includes by `-r` are left out.
        return [SDK if line == "./sdk" else line for line in lines if line and line[0] not in "#-"]
