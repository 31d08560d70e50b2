"""The settings' environment variables: their names, and reading them."""

from __future__ import annotations

import os
import re
from functools import lru_cache

from pydantic import AliasChoices, ValidationError

from yolo_backend.errors import ConfigError
from yolo_backend.settings.schema import Settings

MAX_SHOWN = 200  # characters of a value that is refused


def environment_names(field: str) -> tuple[str, ...]:
    """Return the environment variables that set ``field``, aliases included."""
    alias = Settings.model_fields[field].validation_alias
    return tuple(map(str, alias.choices)) if isinstance(alias, AliasChoices) else (field.upper(),)


def environment_name(field: str) -> str:
    """Return the variable that messages name."""
    return environment_names(field)[0]


def settings_environment() -> dict[str, str]:
    """Return the variables of the environment that are settings, with their values."""
    names = {name for field in Settings.model_fields for name in environment_names(field)}
    return {name: value for name, value in os.environ.items() if name.upper() in names}


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: values can't be used; a single line that names their variables.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            variable = environment_name(name) if name in Settings.model_fields else name
            reason = problem["msg"].removeprefix("Value error, ")
            if name == "device":
                reason = "auto, cpu, mps, cuda or cuda:1 and so on is expected"
            problems.append(f"{variable}={_printable(problem['input'])}: {reason}")
        raise ConfigError("; ".join(problems)) from None
    if bool(settings.basic_auth_user) != bool(settings.basic_auth_pass):
        missing = "BASIC_AUTH_PASS" if settings.basic_auth_user else "BASIC_AUTH_USER"
        raise ConfigError(f"{missing} is not set: basic auth needs BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither")
    return settings


def _printable(value: object) -> str:
    """Return a value for a message: addresses without user, password and query."""
    text = re.sub(r"\?.*", "?…'", re.sub("//.*@", "//", repr(value)))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once."""
    return load_settings()
