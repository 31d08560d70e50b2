"""Logging: one line per record on standard error."""

from __future__ import annotations

import logging


def configure_logging(level: str) -> None:
    """Send the records of the service to standard error, from ``level`` on."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    # A debug record per connection would hide ours, and shows query strings.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    logging.getLogger("PIL").setLevel(logging.INFO)
