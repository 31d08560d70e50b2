"""The page that documents every setting."""

from __future__ import annotations

from pathlib import Path

from yolo_backend.settings.environment import environment_names
from yolo_backend.settings.schema import WORKING_DIR, Settings


def settings_page() -> str:
    """Return the page that documents every setting, in Markdown."""
    rows = []
    for field, info in Settings.model_fields.items():
        names = environment_names(field)
        default = info.default
        if isinstance(default, Path):
            default = default.relative_to(WORKING_DIR)
        shown = "not set" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| {' or '.join(f'`{name}`' for name in names)} | {shown} | {info.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Environment variables, read once when the service starts. A variable that is set to nothing counts as not",
            "set. A value that can't be used stops the start with a line that names the variable, and a name that looks like",
            "a misspelt setting is a warning in the log. Relative paths count from this repository, or from the directory that",
            "the service is started in where it is installed as a package; the container image has its own values for",
            "`MODEL_ROOT` (/app/models) and `MODEL_DIR` (/data/models).",
            "",
            "This page is written by `python -m yolo_backend settings > docs/settings.md`.",
            "",
            "| variable | default | what it does |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )
