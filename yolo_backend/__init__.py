"""A Label Studio ML backend that pre-annotates with YOLO."""

__version__ = "0.2.0.dev0"
