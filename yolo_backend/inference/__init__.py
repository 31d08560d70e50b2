"""Weights -> a loaded model -> detections on pictures."""

from yolo_backend.inference.detections import Detections as Detections
from yolo_backend.inference.model import Model as Model
from yolo_backend.inference.options import ModelSpec as ModelSpec
from yolo_backend.inference.options import PredictOptions as PredictOptions
from yolo_backend.inference.store import ModelStore as ModelStore
from yolo_backend.inference.tiling import Tiling as Tiling
from yolo_backend.inference.weights import WeightsStore as WeightsStore
