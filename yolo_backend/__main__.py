"""`python -m yolo_backend`."""

from yolo_backend.cli.main import app

app()
