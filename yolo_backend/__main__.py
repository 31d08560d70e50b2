"""`python -m yolo_backend`."""

from yolo_backend.cli import app

app()
