"""Log lines at the start: what the service works with, and what is likely to be wrong."""

from __future__ import annotations

import logging
import os

from yolo_backend import __version__
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.settings import Settings
from yolo_backend.settings.spelling import misspelt

logger = logging.getLogger(__name__)


def log_doubts(settings: Settings) -> None:
    """Warn of settings that are likely to be wrong."""
    for problem in misspelt(os.environ):
        logger.warning("%s", problem)
    if not settings.model_root.is_dir():
        logger.warning(
            "MODEL_ROOT: there is no directory %s; only the bundled weights can be used", settings.model_root
        )


def log_settings(settings: Settings) -> None:
    """Log the main settings, and warnings about those that are likely to be wrong."""
    logger.info(
        "yolo-backend %s: weights in %s, Label Studio at %s, API key %s, basic auth %s, score threshold %g",
        __version__,
        settings.model_root,
        settings.label_studio_url or "the address that it sends",
        "set" if settings.label_studio_api_key else "not set",
        "on" if settings.basic_auth_user else "off",
        settings.model_score_threshold,
    )
    log_doubts(settings)
    # Warns of a key that can't be used.
    LabelStudio.from_settings(settings)
