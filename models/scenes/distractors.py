"""Things that a hasty eye takes for a code: stripes, chequerboards, tables, rulers, text. None of them is one.

Every function returns float32 pixels (height, width, 3) in 0..255.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .fonts import random_words, text_mask

Painter = Callable[[np.random.Generator, int, int], np.ndarray]


def draw_distractor(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """One of them at random."""
    painter = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
    return painter(rng, max(8, width), max(8, height))


def _two_tones(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A light and a dark colour, mostly near white and black."""
    light = rng.uniform(190, 255) + rng.normal(0, 6, 3)
    dark = rng.uniform(5, 90) + rng.normal(0, 10, 3)
    if rng.random() < 0.3:
        dark = rng.uniform(0, 200, 3)
    return np.clip(light, 0, 255).astype(np.float32), np.clip(dark, 0, 255).astype(np.float32)


def _mix(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light, dark = _two_tones(rng)
    mask = mask.astype(np.float32)[..., None]
    return mask * dark + (1 - mask) * light


def even_stripes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Stripes of one period, as blinds, radiators and shirts have: a barcode's are uneven."""
    period = width / rng.integers(4, 30)
    x = np.arange(width)[None, :] + np.zeros((height, 1))
    mask = (x % period) < period * rng.uniform(0.3, 0.7)
    return _mix(mask if rng.random() < 0.6 else mask[:, :1] | ((np.arange(height)[:, None] % period) < period / 2), rng)


def few_bars(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Three to seven broad bars: a bar chart, piano keys, a fence."""
    mask = np.zeros((height, width))
    edges = np.sort(rng.uniform(0, width, 2 * int(rng.integers(3, 7)))).astype(int)
    grounded = rng.random() < 0.6
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        mask[int(rng.uniform(0, 0.8) * height) if grounded else 0 :, left:right] = 1
    return _mix(mask, rng)


def chequerboard(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    cell = max(3.0, width / int(rng.integers(4, 16)))
    mask = ((np.arange(width) // cell)[None, :] + (np.arange(height) // cell)[:, None]) % 2
    return _mix(mask, rng)


def table(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ruled rows and columns, some cells with text."""
    picture = np.empty((height, width, 3), np.float32)
    light, dark = _two_tones(rng)
    picture[:] = light
    columns, rows = int(rng.integers(2, 7)), int(rng.integers(3, 9))
    line = max(1, round(min(width, height) / rng.integers(60, 160)))
    for left in np.linspace(0, width - line, columns + 1).astype(int):
        picture[:, left : left + line] = dark
    cell_height = max(6, height // rows)
    for row, top in enumerate(np.linspace(0, height - line, rows + 1).astype(int)):
        picture[top : top + line] = dark
        for column in range(columns):
            if row < rows and rng.random() < 0.6:
                words = random_words(rng, 1)
                write(picture, words, (column * width // columns + 3 * line, top + 2 * line), cell_height * 0.6, dark)
    return picture


def paragraph(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Lines of text, some cut into columns."""
    picture = np.empty((height, width, 3), np.float32)
    light, dark = _two_tones(rng)
    picture[:] = light
    fill_with_text(rng, picture, (0, 0, width, height), height / int(rng.integers(4, 14)), dark)
    return picture


def rings(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Concentric rings or squares: a logo, a target, a lone finder pattern."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = abs(x - width / 2), abs(y - height / 2)
    distance = np.hypot(x, y) if rng.random() < 0.6 else np.maximum(x, y)
    reach = min(width, height) / 2
    mask = (distance < reach) & ((distance / reach * rng.integers(2, 5)) % 1 < rng.uniform(0.3, 0.7))
    return _mix(mask, rng)


def halftone(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A grid of dots, as a perforated sheet or a loudspeaker has."""
    pitch = max(4.0, width / int(rng.integers(8, 30)))
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x % pitch - pitch / 2, y % pitch - pitch / 2)
    return _mix(distance < pitch * rng.uniform(0.2, 0.42), rng)


def crossword(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ruled cells, some black: square and busy, but with no finder patterns."""
    cells = int(rng.integers(5, 13))
    filled = (rng.random((cells, cells)) < rng.uniform(0.1, 0.35)).astype(np.float32)
    mask = cv2.resize(filled, (width, height), interpolation=cv2.INTER_NEAREST)
    step_x, step_y = width / cells, height / cells
    mask[:, (np.arange(width) % step_x) < max(1, step_x / 12)] = 1
    mask[(np.arange(height) % step_y) < max(1, step_y / 12)] = 1
    return _mix(mask, rng)


def ruler(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ticks of three lengths at even steps, with numbers."""
    mask = np.zeros((height, width), np.float32)
    ticks = int(rng.integers(15, 50))
    thick = max(1, width // (ticks * 5))
    for tick, left in enumerate(np.linspace(0, width - thick, ticks).astype(int)):
        length = 0.5 if tick % 10 == 0 else 0.35 if tick % 5 == 0 else 0.22
        mask[: int(height * length), left : left + thick] = 1
    picture = _mix(mask, rng)
    write(
        picture,
        " ".join(str(number) for number in range(12)),
        (0, int(height * 0.6)),
        height * 0.3,
        picture.min(0).min(0),
    )
    return picture


def blobs(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Soft patches of two tones: marble, camouflage, cow hide."""
    coarse = rng.random((int(rng.integers(4, 14)), int(rng.integers(4, 14)))).astype(np.float32)
    return _mix(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) > 0.5, rng)


def hatching(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Slanted stripes, as warning tape has."""
    y, x = np.mgrid[0:height, 0:width]
    period = width / rng.uniform(3, 14)
    return _mix((x + y * rng.uniform(0.6, 1.4)) % period < period * rng.uniform(0.3, 0.6), rng)


DISTRACTORS: tuple[Painter, ...] = (
    even_stripes, few_bars, chequerboard, table, paragraph, rings, halftone, crossword, ruler, blobs, hatching,
)  # fmt: skip


def write(picture: np.ndarray, text: str, at: tuple[int, int], height: float, colour: np.ndarray) -> None:
    """Print ``text`` into ``picture`` with its top-left corner at ``at`` (x, y); what does not fit is cut off."""
    if height < 4:
        return
    left, top = max(0, at[0]), max(0, at[1])
    area = picture[top : top + round(height), left:]
    letters = text_mask(text, round(height))[: area.shape[0], : area.shape[1], None]
    area = area[: letters.shape[0], : letters.shape[1]]
    area[:] = letters * np.asarray(colour, np.float32) + (1 - letters) * area


def fill_with_text(
    rng: np.random.Generator, picture: np.ndarray, area: tuple[int, int, int, int], line: float, colour: np.ndarray
) -> None:
    """Set lines of text of height ``line`` into ``area`` (left, top, right, bottom); areas too small stay empty."""
    left, top, right, bottom = area
    if line < 4 or right - left < 2 * line:
        return
    view = picture[top:bottom, left:right]
    for y in range(0, int(bottom - top - line) + 1, max(5, round(line * 1.3))):
        words = random_words(rng, max(1, int((right - left) / line / rng.uniform(2.2, 6))))
        write(view, words, (0, y), line, colour)
