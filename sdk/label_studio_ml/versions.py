"""Model versions."""

import re


def next_version(version: str) -> str:
    """Return the version after this one: 0.1.0 after 0.0.1, "best-8" after "best-7", "first-1" after "first"."""
    if semantic := re.fullmatch(r"(\d+)\.(\d+)\.\d+", version):
        major, minor = semantic.groups()
        return f"{major}.{int(minor) + 1}.0"
    if numbered := re.fullmatch(r"(.*?)(\d+)", version, re.DOTALL):
        stem, number = numbered.groups()
        return f"{stem}{int(number) + 1}"
    return f"{version}-1"
