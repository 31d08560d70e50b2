"""``python -m yolo_backend``: the command line."""
