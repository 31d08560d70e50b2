"""A picture to a model's input and back: brought to size, with grey beside it, as models are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

PADDING = 114
"""The grey that models are trained with."""


@dataclass(frozen=True)
class Letterbox:
    """How a picture lies in a model's input; all in pixels of the input."""

    width: int
    height: int
    inner_width: int
    inner_height: int
    left: int
    top: int

    @classmethod
    def fit(cls, width: int, height: int, size: tuple[int, int], *, stride: int | None) -> Letterbox:
        """Place a picture in the middle, as large as it fits.

        Args:
            width: of the picture.
            height: the same.
            size: height and width of the model's input.
            stride: the input is cut to the picture's shape, to multiples of this; None: it has ``size`` always.
        """
        scale = min(size[0] / height, size[1] / width)
        inner_width, inner_height = max(round(width * scale), 1), max(round(height * scale), 1)
        full_height, full_width = size
        if stride is not None:
            full_width = inner_width + (full_width - inner_width) % stride
            full_height = inner_height + (full_height - inner_height) % stride
        return cls(
            width=full_width,
            height=full_height,
            inner_width=inner_width,
            inner_height=inner_height,
            left=round((full_width - inner_width) / 2 - 0.1),
            top=round((full_height - inner_height) / 2 - 0.1),
        )

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the model's input, (height, width, 3) uint8, for a picture (any height, any width, 3)."""
        if pixels.shape[:2] != (self.inner_height, self.inner_width):
            pixels = cv2.resize(pixels, (self.inner_width, self.inner_height), interpolation=cv2.INTER_LINEAR)
        if (self.inner_height, self.inner_width) == (self.height, self.width):
            return np.ascontiguousarray(pixels)
        bottom, right = self.height - self.inner_height - self.top, self.width - self.inner_width - self.left
        grey = (PADDING, PADDING, PADDING)
        return cv2.copyMakeBorder(pixels, self.top, bottom, self.left, right, cv2.BORDER_CONSTANT, value=grey)

    def fractions(self, points: np.ndarray) -> np.ndarray:
        """Return (…, 2) x and y in the model's input as fractions of the picture's width and height."""
        return (points - (self.left, self.top)) / (self.inner_width, self.inner_height)


def whole_strides(size: int, stride: int) -> int:
    """Return the next multiple of the stride that a model's input needs."""
    return max(math.ceil(size / stride), 1) * stride


def middle_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the square in the middle of a picture, (size, size, 3), its shorter side brought to size first.

    This is how classification models are shown pictures; the resizing is Pillow's, which they are trained with.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    if width <= height:
        width, height = size, int(size * height / width)
    else:
        width, height = int(size * width / height), size
    if pixels.shape[:2] != (height, width):
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])


def padded_square(pixels: np.ndarray) -> np.ndarray:
    """Return a picture in the middle of a square of grey."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), PADDING, np.uint8)
    square[top : top + height, left : left + width] = pixels
    return square
