"""Logging: one line per record on standard error."""

from __future__ import annotations

import logging

from yolo_backend import __version__
from yolo_backend.label_studio import LabelStudio
from yolo_backend.settings import Settings

logger = logging.getLogger(__name__)


def configure_logging(level: str) -> None:
    """Send the records of the service to standard error, from ``level`` on."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    # A debug record per connection would hide ours, and shows query strings.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    logging.getLogger("PIL").setLevel(logging.INFO)


def log_settings(settings: Settings) -> None:
    """Say at the start what the service works with, and what of it can't be right."""
    logger.info(
        "yolo-backend %s: weights in %s, Label Studio at %s, API key %s, basic auth %s, score threshold %g",
        __version__,
        settings.model_root,
        settings.label_studio_url or "the address that it sends",
        "set" if settings.label_studio_api_key else "not set",
        "on" if settings.basic_auth_user else "off",
        settings.model_score_threshold,
    )
    if not settings.model_root.is_dir():
        logger.warning(
            "MODEL_ROOT: there is no directory %s; only the bundled weights can be used", settings.model_root
        )
    # Warns of a key that can't be used.
    LabelStudio.from_settings(settings)
