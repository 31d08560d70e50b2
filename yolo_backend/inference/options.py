"""What travels to a model: which one it is, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

from yolo_backend.inference.tiling import Tiling


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What makes a loaded model a different one.

    Attributes:
        weights: their name, as `WeightsStore` knows them.
    """

    weights: str

    def __str__(self) -> str:
        return self.weights


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is asked of a model for a picture.

    Attributes:
        confidence: the least score of a detection, from 0 to 1.
        iou: boxes of a class that overlap by more are one object.
        max_det: most detections per picture.
        imgsz: pixels of the longer side for the model; None: what it was made for.
        whole_image: for classification, show it the picture padded to a square; otherwise the square in the middle.
        tiling: show it the tiles of the picture too; not for classification.
    """

    confidence: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    imgsz: int | None = None
    whole_image: bool = False
    tiling: Tiling | None = None
