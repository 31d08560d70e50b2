"""Task data to pixels: locates the file of a value, checks that it may be opened, fetches and decodes it."""

from yolo_backend.media.encoded import Picture
from yolo_backend.media.loader import MediaLoader

__all__ = ["MediaLoader", "Picture"]
