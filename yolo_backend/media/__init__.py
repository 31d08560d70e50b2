"""Task data to pixels: where a value points, may it be opened, fetch it, decode it."""

from yolo_backend.media.encoded import Picture
from yolo_backend.media.loader import MediaLoader

__all__ = ["MediaLoader", "Picture"]
