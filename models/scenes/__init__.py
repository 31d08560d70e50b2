"""Drawn photos of QR codes and barcodes with exact truth, for all YOLO tasks: seeded, without a network.

The codes come from libraries (segno, python-barcode), everything around them is painted here, apart from a few photos in
the public domain that scikit-image ships. ``pip install -r models/requirements-train.txt`` brings all three.
"""

from .backgrounds import HELD_OUT, TRAINING
from .codes import BARCODE, LABELS, QR_CODE
from .scene import Scene, SceneObject, draw_scene
from .sheet import draw_sheet

__all__ = ["BARCODE", "HELD_OUT", "LABELS", "QR_CODE", "TRAINING", "Scene", "SceneObject", "draw_scene", "draw_sheet"]
