"""Flat things that codes are printed on: stickers, packages, pages, screens, shelf labels; and the same without a code."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .backgrounds import colour, noise
from .codes import BARCODE, Code, draw_code, print_with_quiet_zone
from .distractors import draw_distractor, fill_with_text


@dataclass(frozen=True, kw_only=True)
class PrintedCode:
    """A code on a surface; ``corners`` (4, 2) in the surface's pixels: top-left, top-right, bottom-right, bottom-left."""

    code: Code
    corners: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Pixels (height, width, 3) and coverage (height, width) in 0..1, both float32, with the codes printed on it."""

    pixels: np.ndarray
    coverage: np.ndarray
    codes: tuple[PrintedCode, ...]

    @property
    def has_barcode(self) -> bool:
        return any(printed.code.label == BARCODE for printed in self.codes)


def draw_surface(rng: np.random.Generator, code_width: int, *, codes: int) -> Surface:
    """A surface with ``codes`` codes on it, the first ``code_width`` pixels wide; 0 codes: print that only looks busy."""
    paper, ink = _paper_and_ink(rng)
    prints = [_print(rng, code_width, ink, paper) for _ in range(codes)] or [_look_alike(rng, code_width)]
    patch, boxes = _arrange(rng, [print_.patch for print_ in prints], paper)
    pixels, offset = _surround(rng, patch, paper, ink)
    placed = []
    for print_, (left, top) in zip(prints, boxes, strict=True):
        if print_.code is not None:
            corner = np.asarray([left, top], np.float64) + offset
            placed.append(PrintedCode(code=print_.code, corners=print_.corners + corner))
    return Surface(pixels=pixels, coverage=_outline(rng, *pixels.shape[:2]), codes=tuple(placed))


@dataclass(frozen=True, kw_only=True)
class _Print:
    patch: np.ndarray
    code: Code | None
    corners: np.ndarray


def _print(rng: np.random.Generator, width: int, ink: np.ndarray, paper: np.ndarray) -> _Print:
    code = draw_code(rng)
    caption = code.label == BARCODE and rng.random() < 0.65
    width = max(8, round(width * (1.0 if code.label == BARCODE else rng.uniform(0.55, 0.95))))
    patch, (left, top, right, bottom) = print_with_quiet_zone(
        code, width, rng=rng, ink=tuple(ink), paper=tuple(paper), caption=caption
    )
    corners = np.asarray([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return _Print(patch=patch, code=code, corners=corners)


def _look_alike(rng: np.random.Generator, width: int) -> _Print:
    patch = draw_distractor(rng, width, round(width * rng.uniform(0.3, 1.3)))
    return _Print(patch=patch, code=None, corners=np.zeros((4, 2)))


def _paper_and_ink(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Dark ink on light paper: what readers need, and so what is printed."""
    paper = np.clip(rng.uniform(200, 255) + rng.normal(0, 6, 3), 0, 255).astype(np.float32)
    ink = np.clip(rng.uniform(0, 50) + rng.normal(0, 8, 3), 0, 255).astype(np.float32)
    if rng.random() < 0.15:
        ink = rng.uniform(0, [110, 90, 130]).astype(np.float32)
    if rng.random() < 0.12:
        paper = rng.uniform([200, 180, 120], 255).astype(np.float32)
    return paper, ink


def _arrange(
    rng: np.random.Generator, patches: list[np.ndarray], paper: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The patches in a row or a column on common paper; returns it and each patch's left-top corner."""
    if len(patches) == 1:
        return patches[0], [(0, 0)]
    axis = int(rng.integers(2))
    gap = round(max(patch.shape[axis] for patch in patches) * rng.uniform(0.08, 0.4))
    starts = np.cumsum([0] + [patch.shape[axis] + gap for patch in patches])
    size = [max(patch.shape[side] for patch in patches) for side in range(2)]
    size[axis] = int(starts[-1]) - gap
    sheet = np.empty((*size, 3), np.float32)
    sheet[:] = paper
    corners = []
    for patch, start in zip(patches, starts, strict=False):
        top, left = (int(start), 0) if axis == 0 else (0, int(start))
        sheet[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
        corners.append((left, top))
    return sheet, corners


def _surround(
    rng: np.random.Generator, patch: np.ndarray, paper: np.ndarray, ink: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Margins around the patch, with print in them; returns the pixels and the patch's left-top corner (x, y)."""
    height, width = patch.shape[:2]
    kind = rng.choice(["bare", "sticker", "sticker", "package", "page", "screen", "shelf label"])
    side = min(height, width)
    reach = {"bare": 0.08, "sticker": 0.5, "package": 1.2, "page": 1.5, "screen": 0.4, "shelf label": 0.3}[str(kind)]
    left, top, right, bottom = (int(side * reach * value) for value in rng.uniform(0.05, 1, 4))
    if kind == "shelf label":
        right += int(width * rng.uniform(0.4, 1.5))
    ground = paper
    if kind == "package":
        ground = colour(rng, vivid=70)
    elif kind == "screen":
        ground = colour(rng, dark=200, light=255, vivid=5)
    full_height, full_width = height + top + bottom, width + left + right
    pixels = np.empty((full_height, full_width, 3), np.float32)
    pixels[:] = ground
    if kind == "package":
        _decorate(rng, pixels)
    line = side * rng.uniform(0.07, 0.2)
    text_ink = ink if kind != "package" else colour(rng, vivid=70)
    pad = max(2, int(line * 0.6))
    margins = [
        (pad, pad, full_width - pad, top - pad),
        (pad, top + height + pad, full_width - pad, full_height - pad),
        (left + width + pad, top, full_width - pad, top + height),
        (pad, top, left - pad, top + height),
    ]
    for area in margins:
        if rng.random() < 0.75 and area[2] > area[0] and area[3] > area[1]:
            fill_with_text(rng, pixels, area, line * rng.choice([1, 1, 1.6, 2.5]), text_ink)
    pixels[top : top + height, left : left + width] = patch
    if kind == "screen":
        bezel = max(2, int(side * rng.uniform(0.04, 0.12)))
        pixels = cv2.copyMakeBorder(
            pixels, bezel, bezel, bezel, bezel, cv2.BORDER_CONSTANT, value=(18.0, 18.0, 20.0, 0.0)
        )
        left, top = left + bezel, top + bezel
    elif rng.random() < 0.2:
        rule = max(1, int(side * 0.015))
        pixels[:rule] = pixels[-rule:] = pixels[:, :rule] = pixels[:, -rule:] = ink
    wear = noise(rng, *pixels.shape[1::-1], cells=6, octaves=3)[..., None]
    return pixels * (0.94 + 0.1 * wear), np.asarray([left, top], np.float64)


def _decorate(rng: np.random.Generator, pixels: np.ndarray) -> None:
    """Bands and discs of colour on a package."""
    height, width = pixels.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        paint = colour(rng, vivid=70).tolist()
        at = tuple(int(value) for value in rng.uniform([0, 0], [width, height]))
        if rng.random() < 0.5:
            cv2.circle(pixels, at, int(min(width, height) * rng.uniform(0.05, 0.4)) + 1, paint, -1, cv2.LINE_AA)
        else:
            end = tuple(int(value) for value in rng.uniform([0, 0], [width, height]))
            cv2.rectangle(pixels, at, end, paint, -1)


def _outline(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coverage of the whole sheet, its corners rounded now and then."""
    if rng.random() < 0.6:
        return np.ones((height, width), np.float32)
    # Small, so that it never bites into a quiet zone.
    radius = max(1, int(min(height, width) * rng.uniform(0.01, 0.04)))
    coverage = np.zeros((height, width), np.float32)
    coverage[radius : height - radius] = 1
    coverage[:, radius : width - radius] = 1
    for y in (radius, height - 1 - radius):
        for x in (radius, width - 1 - radius):
            cv2.circle(coverage, (x, y), radius, 1.0, -1, cv2.LINE_AA)
    return coverage
