"""Files that tasks refer to: local copies, and their content."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from label_studio_sdk._extensions.label_studio_tools.core.utils import io

from label_studio_ml.tokens import usable_token
from label_studio_ml.utils import is_preload_needed

logger = logging.getLogger(__name__)


def local_path(url: str, *, hostname: str, token: str, project_dir: str | None, task_id: int | None) -> str:
    """Return the path of a local copy; see ``LabelStudioMLBase.get_local_path``."""
    if token and hostname:
        token = usable_token(hostname, token)
    return io.get_local_path(url, project_dir=project_dir, hostname=hostname, access_token=token, task_id=task_id)


def preloaded(value: Any, fetch: Callable[[str], str], *, task_id: object, read_file: bool) -> Any:
    """Return a task's data with the content of files, or their paths, instead of their addresses.

    Args:
        value: The data, or a part of it. An address that can't be opened stays, with a line in the log.
        fetch: Returns the path of a local copy for an address.
        task_id: The task, for the log.
        read_file: Whether the content is wanted, as text in UTF-8.
    """
    if isinstance(value, Mapping):
        return {key: preloaded(item, fetch, task_id=task_id, read_file=read_file) for key, item in value.items()}
    if isinstance(value, list):
        return [preloaded(item, fetch, task_id=task_id, read_file=read_file) for item in value]
    if not isinstance(value, str) or not is_preload_needed(value):
        return value
    try:
        path = fetch(value)
        return Path(path).read_text(encoding="utf-8") if read_file else path
    except Exception as error:
        logger.warning("Task %s: %s can't be opened and is left as it is: %s", task_id, value, error)
        return value
