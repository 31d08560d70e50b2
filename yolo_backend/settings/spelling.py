"""Environment variables that are most likely misspelt settings.

A false alarm is worse than silence. The environment is shared with other programs, with Kubernetes, which adds variables
for services, and with Label Studio, whose settings may be in the same file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from yolo_backend.settings import Settings, environment_names

ALIKE = 0.9  # as difflib counts: about one letter more, less or exchanged in ten
SHORTEST = 10  # characters; a name that is like a shorter setting (WORKERS, MODEL_DIR) may be another program's
FAMILIES = ("BASIC_AUTH_", "LABEL_STUDIO_API_", "MODEL_SCORE_")
"""Beginnings that only settings of this service have."""

# Kubernetes and Docker set these for each service that they link.
_LINK = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)")


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Return a message for each variable that is most likely a misspelt setting, without its value."""
    settings = {name: environment_names(field) for field in Settings.model_fields for name in environment_names(field)}
    candidates = [name for name in settings if len(name) >= SHORTEST]
    is_set = {name.upper() for name, value in environment.items() if value}
    messages = []
    for name in sorted(is_set.difference(settings)):
        if _LINK.fullmatch(name):
            continue
        meant = difflib.get_close_matches(name, candidates, 1, 0.5 if name.startswith(FAMILIES) else ALIKE)
        # With the right variable set as well, this one is somebody else's.
        if meant and not is_set.intersection(settings[meant[0]]):
            messages.append(
                f"{name} is no setting and changes nothing; is {meant[0]} meant? docs/settings.md lists them"
            )
    return messages
