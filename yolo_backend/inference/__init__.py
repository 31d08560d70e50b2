"""Weights -> a loaded model -> detections on pictures."""

from yolo_backend.inference.detections import Detections as Detections
from yolo_backend.inference.models import Model as Model
from yolo_backend.inference.models import ModelStore as ModelStore
from yolo_backend.inference.tiles import Tiling as Tiling
from yolo_backend.inference.weights import WeightsStore as WeightsStore
