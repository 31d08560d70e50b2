"""A large photo full of small codes: scenes side by side, at their own sharpness, with the truth about all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .backgrounds import HELD_OUT
from .scene import Scene, draw_scene


def draw_sheet(
    *seed: int,
    size: tuple[int, int],
    columns: int,
    rows: int,
    code_widths: tuple[float, float] = (0.08, 0.3),
) -> Scene:
    """A photo of ``size``, (width, height) in pixels, made of ``columns`` times ``rows`` scenes."""
    lefts, tops = (
        np.linspace(0, side, count + 1).astype(int) for side, count in zip(size, (columns, rows), strict=True)
    )
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    objects = []
    for row in range(rows):
        for column in range(columns):
            (left, right), (top, bottom) = lefts[column : column + 2], tops[row : row + 2]
            one = (int(right - left), int(bottom - top))
            scene = draw_scene(*seed, row, column, families=HELD_OUT, size=one, code_widths=code_widths)
            picture[top:bottom, left:right] = scene.image
            objects += [replace(item, corners=item.corners + (left, top)) for item in scene.objects]
    return Scene(image=picture, objects=tuple(objects))
