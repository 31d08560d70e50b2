"""What a model found on one picture, in arrays, whichever runtime ran it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from yolo_backend.inference.preprocess import Letterbox


class Masks(ABC):
    """Masks of n objects, drawn one at a time."""

    @abstractmethod
    def crop(self, index: int, width: int, height: int) -> tuple[np.ndarray, int, int]:
        """Draw the part of a mask within its box.

        Args:
            index: of the object.
            width: of the picture that the mask is drawn for, in pixels; any size will do.
            height: the same.

        Returns:
            The part of the mask, uint8 of 0 and 1, and the pixel of its left edge and of its top.
        """

    @abstractmethod
    def resolution(self, index: int) -> float:
        """Return how many of the model's own pixels of a mask lie side by side across the picture."""

    def draw(self, index: int, width: int, height: int) -> np.ndarray:
        """Draw a mask for a picture of any size; (height, width) uint8 of 0 and 1."""
        part, left, top = self.crop(index, width, height)
        mask = np.zeros((height, width), np.uint8)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedMasks(Masks):
    """Masks of n objects, kept as the model gives them: each is a sum of prototypes that all share.

    Attributes:
        coefficients: (n, channels) of the prototypes.
        prototypes: (channels, rows, columns); a mask is where their weighted sum is above zero.
        scale: (2,) columns and rows of the prototypes that lie across and down the picture.
        offset: (2,) column and row, as numbers with a fraction, at the picture's left and top edge.
        boxes: (n, 4) left, top, right, bottom as fractions of the picture's width and height; a mask ends there.
    """

    coefficients: np.ndarray
    prototypes: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    boxes: np.ndarray

    @classmethod
    def in_input(
        cls, coefficients: np.ndarray, prototypes: np.ndarray, letterbox: Letterbox, boxes: np.ndarray
    ) -> SharedMasks:
        """Return the masks of a picture that lay so in the model's input, which the prototypes cover."""
        to_prototypes = np.array(prototypes.shape[:0:-1]) / (letterbox.width, letterbox.height)
        return cls(
            coefficients=coefficients,
            prototypes=prototypes,
            scale=np.array([letterbox.inner_width, letterbox.inner_height]) * to_prototypes,
            offset=np.array([letterbox.left, letterbox.top]) * to_prototypes,
            boxes=boxes,
        )

    def crop(self, index: int, width: int, height: int) -> tuple[np.ndarray, int, int]:
        """Draw the part of a mask within its box; see `Masks.crop`."""
        import cv2

        # A pixel belongs to a box that its corner is in.
        edges = np.clip(self.boxes[index] * (width, height, width, height), 0, (width, height, width, height))
        left, top, right, bottom = np.ceil(edges).astype(int)
        if right <= left or bottom <= top:
            return np.zeros((0, 0), np.uint8), int(left), int(top)
        # From a pixel of the drawn part to one of the prototypes, centre to centre.
        across, down = self.scale / (width, height)
        x, y = (left + 0.5) * across + self.offset[0] - 0.5, (top + 0.5) * down + self.offset[1] - 0.5
        drawn = cv2.warpAffine(
            self._logits(index, slice(None), slice(None)),
            np.array([[across, 0, x], [0, down, y]]),
            (int(right - left), int(bottom - top)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return (drawn > 0).astype(np.uint8), int(left), int(top)

    def resolution(self, index: int) -> float:
        """Return how many of the model's own pixels of a mask lie side by side across the picture."""
        return float(self.scale[0])

    def cut_out(self, index: int, left_top: np.ndarray, size: np.ndarray) -> SharedMasks:
        """Return the mask of one object alone, for a larger picture of which this one is a part; it needs little memory.

        Args:
            index: of the object.
            left_top: (2,) where this picture begins, as fractions of the larger one's width and height.
            size: (2,) width and height of this picture, as fractions of the larger one's.
        """
        first, last = (self.boxes[index].reshape(2, 2) * self.scale + self.offset).round().astype(int)
        first, last = np.maximum(first - 2, 0), last + 2
        logits = self._logits(index, slice(first[1], last[1]), slice(first[0], last[0]))
        scale = self.scale / size
        return SharedMasks(
            coefficients=np.ones((1, 1), np.float32),
            prototypes=logits[None],
            scale=scale,
            offset=self.offset - scale * left_top - first,
            boxes=self.boxes[index : index + 1] * np.tile(size, 2) + np.tile(left_top, 2),
        )

    def _logits(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        prototypes = self.prototypes[:, rows, columns]
        flat = self.coefficients[index] @ prototypes.reshape(len(prototypes), -1)
        return flat.reshape(prototypes.shape[1:]).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class SeparateMasks(Masks):
    """Masks of n objects that were found in different parts of the picture; each of ``parts`` is one."""

    parts: Sequence[Masks]

    def crop(self, index: int, width: int, height: int) -> tuple[np.ndarray, int, int]:
        """Draw the part of a mask within its box; see `Masks.crop`."""
        return self.parts[index].crop(0, width, height)

    def resolution(self, index: int) -> float:
        """Return how many of the model's own pixels of a mask lie side by side across the picture."""
        return self.parts[index].resolution(0)


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
        obb: (n, 5) centre x, centre y, width, height in pixels and angle in radians, for a model of such boxes.
        keypoints: (n, points, 2 or 3) x and y in pixels, and from 0 to 1 how sure it is that the point can be seen.
        masks: of a segmentation model.
        probabilities: (classes,) of a classification model; (0,) of any other.
    """

    names: Mapping[int, str]
    width: int
    height: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    obb: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    masks: Masks | None = None
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)
