"""One module per control tag: what it asks of a model, and how a result becomes regions."""

from yolo_backend.controls.base import Control as Control
from yolo_backend.controls.base import ImageControl as ImageControl
from yolo_backend.controls.brush_labels import BrushLabels
from yolo_backend.controls.choices import Choices, Taxonomy
from yolo_backend.controls.ellipse_labels import EllipseLabels
from yolo_backend.controls.key_point_labels import KeyPointLabels
from yolo_backend.controls.polygon_labels import PolygonLabels
from yolo_backend.controls.rectangle_labels import RectangleLabels
from yolo_backend.controls.timeline_labels import TimelineLabels
from yolo_backend.controls.video_control import VideoControl as VideoControl
from yolo_backend.controls.video_rectangle import VideoRectangle

CONTROLS: tuple[type[Control], ...] = (
    RectangleLabels,
    PolygonLabels,
    BrushLabels,
    KeyPointLabels,
    EllipseLabels,
    Choices,
    Taxonomy,
    VideoRectangle,
    TimelineLabels,
)
"""Every control that the service can fill in."""
