"""A Label Studio ML backend that pre-annotates with YOLO."""

__version__ = "0.1.0"
