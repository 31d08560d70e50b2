"""One module per control tag: what it asks of a model, and how a result becomes regions."""

from yolo_backend.controls.base import Control as Control
from yolo_backend.controls.base import Region as Region
from yolo_backend.controls.rectangle_labels import RectangleLabels

CONTROLS: tuple[type[Control], ...] = (RectangleLabels,)
"""Every control that the service can fill in; the first that fits a tag and what it is on gets it."""
