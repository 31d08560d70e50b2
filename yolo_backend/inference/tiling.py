"""Large pictures in overlapping tiles, for objects that the model could not see in the whole picture brought to its size.

The model looks at the whole picture and at every tile. What lies across the border of a tile is looked at once more, in a
view of its own around it: so boxes, angles, masks and points of every object come from one view that shows all of it, and
none has to be put together from pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from yolo_backend.errors import MediaError
from yolo_backend.inference.detections import Detections, SeparateMasks, SharedMasks

MOST_TILES = 600
"""Tiles of one picture. More take minutes, in which other requests wait."""
BORDER = 0.02
"""A box is cut if it ends so near to the border of its view, as a part of the view's shorter side."""
SAME = 0.6
"""Boxes from different views that overlap by so much are one object, if `model_iou` doesn't say so of fewer."""
PART = 0.5
"""A box with so much of it in another is seen as a part of that."""
AROUND = 1.25
"""A view around an object that is larger than a tile is so much larger than the object."""

Predict = Callable[[Sequence[np.ndarray]], "list[Detections]"]


@dataclass(frozen=True)
class View:
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Return this part of the picture, without a copy."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into tiles.

    Attributes:
        size: of the tiles, in pixels of the picture.
        overlap: of neighbouring tiles, at least, as a part of their size.
    """

    size: int
    overlap: float

    def tiles(self, width: int, height: int) -> list[View]:
        """Return the tiles of a picture, all of one size, evenly spread; one if it is no larger than a tile.

        Raises:
            MediaError: they would be too many.
        """
        lefts, tops = self._starts(width), self._starts(height)
        count = len(lefts) * len(tops)
        if count > MOST_TILES:
            raise MediaError(
                f'{width} × {height} pixels in {count} tiles of model_tile="{self.size}", and at most {MOST_TILES} are '
                "looked at: set a larger model_tile, or a smaller model_tile_overlap"
            )
        across, down = min(self.size, width), min(self.size, height)
        return [View(left, top, across, down) for top in tops for left in lefts]

    def _starts(self, length: int) -> list[int]:
        if length <= self.size:
            return [0]
        count = math.ceil((length - self.size) / (self.size * (1 - self.overlap))) + 1
        return np.linspace(0, length - self.size, count).round().astype(int).tolist()


def predict_tiled(predict: Predict, pixels: np.ndarray, tiling: Tiling, *, iou: float, max_det: int) -> Detections:
    """Return what a model finds on a picture and on its tiles.

    Args:
        predict: runs the model on pictures.
        pixels: (height, width, 3) uint8, BGR.
        tiling: how the picture is cut.
        iou: boxes of one class that overlap by more are one object.
        max_det: most objects.

    Raises:
        MediaError: there would be too many tiles.
    """
    height, width = pixels.shape[:2]
    tiles = tiling.tiles(width, height)
    whole = View(0, 0, width, height)
    if len(tiles) == 1:
        return predict([pixels])[0]
    views = [whole, *tiles]
    seen = _Seen(whole, views, predict([view.of(pixels) for view in views]))
    closer = seen.closer_views(tiles[0], most=len(tiles))
    if closer:
        looked = seen.in_any(closer)
        again = predict([view.of(pixels) for view in closer])
        found = [*seen.found, *again]
        more = _Seen(whole, [*views, *closer], found)
        # What the border of a tile cuts is dropped for what was seen in whole, or not, in the view around it.
        dropped = more.cut.copy()
        dropped[: len(looked)] &= looked
        more.drop(dropped)
        seen = more
    return seen.merged(min(iou, SAME), max_det)


class _Seen:
    """Detections in several views of one picture, in flat arrays; coordinates are pixels of the picture."""

    def __init__(self, whole: View, views: Sequence[View], found: Sequence[Detections]) -> None:
        self.whole, self.views, self.found = whole, views, found
        self.view = np.repeat(np.arange(len(views)), [len(detections) for detections in found])
        self.index = np.concatenate([np.arange(len(detections)) for detections in found])
        corners = np.array([(view.left, view.top) for view in views], float)[self.view]
        sizes = np.array([(view.width, view.height) for view in views], float)[self.view]
        self.boxes = np.concatenate([detections.boxes for detections in found]) + np.tile(corners, 2)
        self.scores = np.concatenate([detections.scores for detections in found])
        self.classes = np.concatenate([detections.classes for detections in found])
        self.obb = None
        if all(detections.obb is not None for detections in found):
            self.obb = np.concatenate([detections.obb for detections in found if detections.obb is not None])
            self.obb[:, :2] += corners
        # Cut: the box ends at a border of its view that is not one of the picture.
        near = BORDER * sizes.min(1, keepdims=True)
        at_first = (self.boxes[:, :2] < corners + near) & (corners > 0)
        ends = corners + sizes
        at_last = (self.boxes[:, 2:] > ends - near) & (ends < (whole.width, whole.height))
        self.cut = (at_first | at_last).any(1)
        # Seen in the whole picture, where it is small, though it would fit into a tile.
        tile = views[1]
        extent = self.boxes[:, 2:] - self.boxes[:, :2]
        self.coarse = (self.view == 0) & (extent < (tile.width, tile.height)).all(1)
        self.doubtful = self.cut | self.coarse

    def drop(self, dropped: np.ndarray) -> None:
        """Forget detections; ``dropped`` is (n,) bool."""
        for name in ("view", "index", "boxes", "scores", "classes", "cut", "coarse", "doubtful"):
            setattr(self, name, getattr(self, name)[~dropped])
        if self.obb is not None:
            self.obb = self.obb[~dropped]

    def closer_views(self, tile: View, *, most: int) -> list[View]:
        """Return views around what is cut, or was only seen in the whole picture, and wasn't seen better anywhere."""
        settled = np.flatnonzero(~self.doubtful)
        views: list[View] = []
        for index in self._by_score(np.flatnonzero(self.doubtful)):
            same = settled[self.classes[settled] == self.classes[index]]
            if (self._overlaps(index, same)[1] > PART).any():
                continue
            box = self._with_its_other_parts(index)
            if any(self._is_inside(box, view) for view in views):
                continue
            views.append(_around(box, tile, self.whole))
            if len(views) == most:
                break
        return views

    def in_any(self, views: Sequence[View]) -> np.ndarray:
        """Return (n,) whether an object lies well within one of some views."""
        return np.array([any(self._is_inside(box, view) for view in views) for box in self.boxes], bool)

    def merged(self, iou: float, max_det: int) -> Detections:
        """Return every object once, the surest first."""
        order = [*self._by_score(np.flatnonzero(~self.doubtful)), *self._by_score(np.flatnonzero(self.doubtful))]
        kept, count = np.zeros(len(order), int), 0
        for index in order:
            others = kept[:count]
            ious, parts = self._overlaps(index, others)
            same = self.classes[others] == self.classes[index]
            if self.doubtful[index]:
                known = (ious > PART) | (same & (parts > PART))
            else:
                # Of one view the model's own suppression has taken care.
                known = same & (ious > iou) & (self.view[others] != self.view[index])
            if not known.any():
                kept[count] = index
                count += 1
        return self._detections(self._by_score(kept[:count])[:max_det])

    def _is_inside(self, box: np.ndarray, view: View) -> bool:
        # So far from the border as in a view that was made for the box; at the picture's edge nothing is cut.
        size = np.array([view.width, view.height])
        first = np.array([view.left, view.top])
        margin = size * (1 - 1 / AROUND) / 2 - 1
        inside = (box[:2] >= first + margin * (first > 0)).all()
        last = first + size
        return bool(inside and (box[2:] <= last - margin * (last < (self.whole.width, self.whole.height))).all())

    def _by_score(self, indices: np.ndarray) -> np.ndarray:
        return indices[np.argsort(-self.scores[indices], kind="stable")]

    def _overlaps(self, index: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how an object overlaps others: intersection over union, and over the smaller of the two."""
        box, boxes = self.boxes[index], self.boxes[others]
        sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
        common = np.clip(sides, 0, None).prod(1)
        if self.obb is None:
            area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
        else:
            area, areas = self.obb[index, 2:4].prod(), self.obb[others, 2:4].prod(1)
            for position in np.flatnonzero(common):
                corners = _corners(self.obb[index]), _corners(self.obb[others[position]])
                common[position] = cv2.intersectConvexConvex(*corners)[0]
        tiny = 1e-9
        return common / (area + areas - common + tiny), common / (np.minimum(area, areas) + tiny)

    def _with_its_other_parts(self, index: int) -> np.ndarray:
        """Return the box around an object and what other views show of it."""
        parts = np.flatnonzero(self.cut & (self.classes == self.classes[index]))
        box = self.boxes[index]
        while len(parts):
            boxes = self.boxes[parts]
            sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
            spans = np.maximum(box[2:], boxes[:, 2:]) - np.minimum(box[:2], boxes[:, :2])
            # Two parts of one object lie side by side: they reach from the same left to the same right, or top to bottom.
            fitting = (sides > 0).all(1) & (sides > SAME * spans).any(1)
            if not fitting.any():
                break
            boxes = np.vstack([box, boxes[fitting]])
            box = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
            parts = parts[~fitting]
        return box

    def _detections(self, kept: np.ndarray) -> Detections:
        found = [(self.found[self.view[i]], self.views[self.view[i]], int(self.index[i])) for i in kept]
        points = masks = None
        if all(view.keypoints is not None for view in self.found):
            points = np.concatenate([view.keypoints[:0] for view in self.found[:1] if view.keypoints is not None])
            moved = [
                _moved(detections.keypoints[index], view)
                for detections, view, index in found
                if detections.keypoints is not None
            ]
            points = np.stack(moved) if moved else points
        if self.found[0].masks is not None:
            size = np.array([self.whole.width, self.whole.height])
            masks = SeparateMasks(
                [
                    detections.masks.cut_out(index, (view.left, view.top) / size, (view.width, view.height) / size)
                    for detections, view, index in found
                    if isinstance(detections.masks, SharedMasks)
                ]
            )
        return Detections(
            names=self.found[0].names,
            width=self.whole.width,
            height=self.whole.height,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            classes=self.classes[kept],
            obb=None if self.obb is None else self.obb[kept],
            keypoints=points,
            masks=masks,
        )


def _corners(obb: np.ndarray) -> np.ndarray:
    x, y, width, height, angle = obb.tolist()
    return cv2.boxPoints(((x, y), (width, height), math.degrees(angle)))


def _moved(points: np.ndarray, view: View) -> np.ndarray:
    moved = points.copy()
    moved[:, :2] += (view.left, view.top)
    return moved


def _around(box: np.ndarray, tile: View, whole: View) -> View:
    """Return a view with a box in its middle: a tile, or larger in the same shape, so that the model sees all of the box."""
    across, down = box[2:] - box[:2]
    scale = max(1.0, AROUND * across / tile.width, AROUND * down / tile.height)
    width, height = min(round(tile.width * scale), whole.width), min(round(tile.height * scale), whole.height)
    left, top = ((box[:2] + box[2:]) / 2 - (width / 2, height / 2)).round().astype(int)
    return View(int(np.clip(left, 0, whole.width - width)), int(np.clip(top, 0, whole.height - height)), width, height)
