"""What a model found on one picture, in arrays, whichever runtime ran it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from yolo_backend.inference.letterbox import Letterbox


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Masks of n objects, kept as the model gives them and drawn one at a time.

    Attributes:
        coefficients: (n, channels) of the prototypes.
        prototypes: (channels, height, width); a mask is where their weighted sum is above zero.
        letterbox: how the picture lay in the model's input, which the prototypes cover.
        boxes: (n, 4) left, top, right, bottom as fractions of the picture's width and height; a mask ends there.
    """

    coefficients: np.ndarray
    prototypes: np.ndarray
    letterbox: Letterbox
    boxes: np.ndarray

    def crop(self, index: int, width: int, height: int) -> tuple[np.ndarray, int, int]:
        """Draw the part of a mask within its box.

        Args:
            index: of the object.
            width: of the picture that the mask is drawn for, in pixels; any size will do.
            height: the same.

        Returns:
            The part of the mask, uint8 of 0 and 1, and the pixel of its left edge and of its top.
        """
        import cv2

        # A pixel belongs to a box that its corner is in.
        edges = np.clip(self.boxes[index] * (width, height, width, height), 0, (width, height, width, height))
        left, top, right, bottom = np.ceil(edges).astype(int)
        if right <= left or bottom <= top:
            return np.zeros((0, 0), np.uint8), int(left), int(top)
        channels, rows, columns = self.prototypes.shape
        logits = (self.coefficients[index] @ self.prototypes.reshape(channels, -1)).reshape(rows, columns)
        # From a pixel of the drawn part to one of the prototypes, centre to centre.
        box = self.letterbox
        across = box.inner_width / width * columns / box.width
        down = box.inner_height / height * rows / box.height
        to_prototypes = np.array(
            [
                [across, 0, (left + 0.5) * across + box.left * columns / box.width - 0.5],
                [0, down, (top + 0.5) * down + box.top * rows / box.height - 0.5],
            ]
        )
        drawn = cv2.warpAffine(
            logits.astype(np.float32, copy=False),
            to_prototypes,
            (int(right - left), int(bottom - top)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return (drawn > 0).astype(np.uint8), int(left), int(top)

    def draw(self, index: int, width: int, height: int) -> np.ndarray:
        """Draw a mask for a picture of any size; (height, width) uint8 of 0 and 1."""
        part, left, top = self.crop(index, width, height)
        mask = np.zeros((height, width), np.uint8)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """What a model found on one picture: n objects, the surest first, or for classification what the whole picture is.

    Attributes:
        names: of the model's classes.
        width: of the pixels that the model was shown, which coordinates refer to.
        height: the same.
        boxes: (n, 4) left, top, right, bottom in pixels, within the picture.
        scores: (n,) from 0 to 1.
        classes: (n,) class numbers.
        rotated: (n, 5) centre x, centre y, width, height in pixels and angle in radians, for a model of such boxes.
        points: (n, points, 2 or 3) x and y in pixels, and from 0 to 1 how sure it is that the point can be seen.
        masks: of a segmentation model.
        probabilities: (classes,) of a classification model; (0,) of any other.
    """

    names: Mapping[int, str]
    width: int
    height: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    rotated: np.ndarray | None = None
    points: np.ndarray | None = None
    masks: Masks | None = None
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)
