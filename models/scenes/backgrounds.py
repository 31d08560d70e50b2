"""Photo-like backgrounds in two sets that share no family and no photo: one to train on, one to measure on.

Every painter returns float32 pixels (height, width, 3) in 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from .distractors import draw_distractor

Painter = Callable[[np.random.Generator, int, int], np.ndarray]

# scikit-image's sample photos that are in the public domain or CC0.
TRAINING_PHOTOS = ("astronaut.png", "brick.png", "camera.png", "coffee.png", "gravel.png", "hubble_deep_field.jpg")
HELD_OUT_PHOTOS = ("chelsea.png", "grass.png", "rocket.jpg")


def draw_background(rng: np.random.Generator, width: int, height: int, families: Mapping[str, Painter]) -> np.ndarray:
    """A background of a random family."""
    family = str(rng.choice(sorted(families)))
    return np.clip(families[family](rng, width, height), 0, 255).astype(np.float32)


def noise(rng: np.random.Generator, width: int, height: int, *, cells: float = 4, octaves: int = 5) -> np.ndarray:
    """Smooth noise in 0..1, (height, width) float32: octaves of ever finer grids, each of half the weight."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        columns = max(2, min(width, round(cells)))
        rows = max(2, min(height, round(cells * height / width)))
        grid = rng.random((rows, columns)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2
    return (total - total.min()) / (total.max() - total.min() + 1e-6)


def colour(rng: np.random.Generator, *, dark: float = 20, light: float = 235, vivid: float = 30) -> np.ndarray:
    """A colour (3,) of any lightness, not too vivid: photos mostly are not."""
    return np.clip(rng.uniform(dark, light) + rng.normal(0, vivid, 3), 0, 255).astype(np.float32)


def blend(amount: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``first`` where ``amount`` (height, width) is 0, ``second`` where it is 1."""
    return first + amount[..., None] * (second - first)


# --- families to train on ---------------------------------------------------------------------------------------------


def gradient(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = np.cos(angle) * x / width + np.sin(angle) * y / height
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    picture = blend(ramp, colour(rng), colour(rng))
    return picture + 12 * (noise(rng, width, height, cells=40, octaves=3)[..., None] - 0.5)


def clouds(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise in two or three colours: carpet, plaster, stone."""
    first = noise(rng, width, height, cells=rng.uniform(2, 60))
    second = noise(rng, width, height, cells=rng.uniform(2, 12))
    return blend(second * 0.6, blend(first, colour(rng), colour(rng)), colour(rng))


def wood(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Planks with grain."""
    grain = noise(rng, max(8, width // int(rng.integers(8, 30))), height, cells=8, octaves=6)
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    waves = 0.5 + 0.5 * np.sin(grain * rng.uniform(15, 50))
    base = np.asarray(rng.uniform([90, 55, 25], [220, 170, 120]), np.float32)
    picture = blend(0.6 * waves + 0.4 * grain, base, base * rng.uniform(0.5, 0.8))
    plank = max(20, height // int(rng.integers(2, 7)))
    for top in range(0, height, plank):
        picture[top : top + plank] *= rng.uniform(0.85, 1.1)
        picture[top : top + max(1, height // 200)] *= 0.4
    return np.ascontiguousarray(picture.transpose(1, 0, 2)) if rng.random() < 0.3 and width == height else picture


def fabric(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A fine weave, or a chequered cloth."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pitch = rng.uniform(3, 7)
    weave = 0.5 + 0.25 * (np.sin(2 * np.pi * x / pitch) + np.sin(2 * np.pi * y / pitch))
    if rng.random() < 0.5:
        band = width / rng.uniform(6, 20)
        weave = 0.3 * weave + 0.35 * ((x % band) < band / 2) + 0.35 * ((y % band) < band / 2)
    return blend(weave.astype(np.float32), colour(rng), colour(rng)) * (
        0.8 + 0.4 * noise(rng, width, height)[..., None]
    )


def paper(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Light paper with faint fibres and folds."""
    picture = (
        np.asarray(rng.uniform(180, 250), np.float32) + rng.normal(0, 5, 3) + np.zeros((height, width, 3), np.float32)
    )
    picture += 14 * (noise(rng, width, height, cells=80, octaves=3)[..., None] - 0.5)
    return picture + 30 * (noise(rng, width, height, cells=3, octaves=2)[..., None] - 0.5)


def shelf(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Rows of packages of many colours on boards, some with print on them."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = colour(rng, light=90)
    rows = int(rng.integers(2, 5))
    for row in range(rows):
        bottom = (row + 1) * height // rows - max(3, height // 50)
        left = -int(rng.uniform(0, 40))
        while left < width:
            wide = int(width * rng.uniform(0.06, 0.22))
            top = int(bottom - height / rows * rng.uniform(0.5, 0.92))
            x = max(0, left)
            if left + wide > x + 2 and top >= 0:
                picture[top:bottom, x : left + wide] = colour(rng, vivid=60)
                picture[top:bottom, x : x + max(1, wide // 20)] *= 0.7
                if rng.random() < 0.4:
                    _stamp(rng, picture[top:bottom, x : left + wide])
            left += wide + int(rng.uniform(0, wide / 4))
        picture[bottom : bottom + max(3, height // 60)] = colour(rng)
    return picture


def polygons(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Overlapping flat shapes: a cluttered desk, out of focus."""
    picture = gradient(rng, width, height)
    for _ in range(int(rng.integers(6, 30))):
        centre = rng.uniform([0, 0], [width, height])
        corners = centre + rng.normal(0, min(width, height) * rng.uniform(0.05, 0.25), (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(picture, [cv2.convexHull(corners.astype(np.int32))], colour(rng, vivid=50).tolist(), cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, min(width, height) / 60))


def _stamp(rng: np.random.Generator, area: np.ndarray) -> None:
    """Put a distractor somewhere into ``area``."""
    height, width = (round(side * rng.uniform(0.3, 0.9)) for side in area.shape[:2])
    if min(width, height) < 10:
        return
    top, left = int(rng.integers(area.shape[0] - height + 1)), int(rng.integers(area.shape[1] - width + 1))
    area[top : top + height, left : left + width] = draw_distractor(rng, width, height)


# --- families to measure on -------------------------------------------------------------------------------------------


def tiles(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Glazed tiles with joints, every second row shifted now and then."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = colour(rng)
    wide, high = int(width / rng.uniform(4, 12)), int(width / rng.uniform(5, 14))
    joint, base, shifted = max(1, wide // 14), colour(rng), rng.random() < 0.5
    for row, top in enumerate(range(0, height, high)):
        for left in range(-(wide // 2) if shifted and row % 2 else 0, width, wide):
            x = max(0, left)
            picture[top + joint : top + high, min(x + joint, width) : max(0, left + wide)] = base * rng.uniform(
                0.85, 1.12
            )
    return picture + 10 * (noise(rng, width, height, cells=10)[..., None] - 0.5)


def cardboard(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Brown board, ribbed, with a strip of tape and a crease."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.asarray(rng.uniform([140, 100, 60], [205, 165, 120]), np.float32)
    ribs = 1 + 0.05 * np.sin(2 * np.pi * (x if rng.random() < 0.5 else y) / rng.uniform(6, 14))
    picture = base * ribs[..., None] * (0.9 + 0.2 * noise(rng, width, height, cells=30)[..., None])
    top = int(rng.uniform(0, height))
    picture[top : top + height // int(rng.integers(6, 14))] *= np.asarray([1.1, 1.05, 0.9], np.float32)
    crease = int(rng.uniform(0, width))
    picture[:, crease : crease + max(2, width // 150)] *= 0.75
    return picture


def foliage(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Leaves over leaves."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = (20, 45, 20)
    for _ in range(int(rng.integers(120, 320))):
        at = tuple(int(value) for value in rng.uniform([0, 0], [width, height]))
        axes = (int(width * rng.uniform(0.02, 0.09)) + 1, int(width * rng.uniform(0.008, 0.03)) + 1)
        green = tuple(float(value) for value in rng.uniform([20, 60, 10], [130, 190, 80]))
        cv2.ellipse(picture, at, axes, float(rng.uniform(0, 360)), 0, 360, green, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, width / 200))


def marble(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Veins through polished stone."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    swirl = noise(rng, width, height, cells=3) * rng.uniform(3, 8)
    veins = abs(np.sin((x / width + y / height * rng.uniform(-1, 1)) * rng.uniform(4, 10) + swirl)) ** rng.uniform(
        0.2, 0.6
    )
    return blend(veins, colour(rng), colour(rng, dark=120))


def bokeh(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Lights out of focus at dusk."""
    picture = np.zeros((height, width, 3), np.float32) + colour(rng, light=80)
    for _ in range(int(rng.integers(15, 60))):
        layer = np.zeros_like(picture)
        at = tuple(int(value) for value in rng.uniform([0, 0], [width, height]))
        cv2.circle(
            layer,
            at,
            int(width * rng.uniform(0.01, 0.08)) + 1,
            colour(rng, dark=80, vivid=70).tolist(),
            -1,
            cv2.LINE_AA,
        )
        picture += layer * rng.uniform(0.2, 0.7)
    return cv2.GaussianBlur(picture, (0, 0), width / 300)


def windows(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A house front: rows of lit and dark windows, sky above. Regular, high in contrast, and no code anywhere."""
    picture = gradient(rng, width, height)
    roof, base = int(height * rng.uniform(0, 0.35)), colour(rng, vivid=15)
    picture[roof:] = base * (0.9 + 0.2 * noise(rng, width, height - roof)[..., None])
    columns, rows = int(rng.integers(4, 14)), int(rng.integers(3, 9))
    for row in range(rows):
        for column in range(columns):
            left, top = (column + 0.25) * width / columns, roof + (row + 0.2) * (height - roof) / rows
            size = width / columns * 0.5, (height - roof) / rows * 0.6
            pane = colour(rng, dark=10, light=120) if rng.random() < 0.7 else colour(rng, dark=170, light=250)
            start, end = (int(left), int(top)), (int(left + size[0]), int(top + size[1]))
            cv2.rectangle(picture, start, end, pane.tolist(), -1)
            cv2.rectangle(picture, start, end, (base * 1.3).tolist(), max(1, width // 300))
    return picture


# --- photos -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _photo(name: str) -> np.ndarray:
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "the background photos come with scikit-image: pip install -r models/requirements-train.txt"
        )
    pixels = cv2.imread(str(Path(package.origin).parent / "data" / name), cv2.IMREAD_COLOR)
    if pixels is None:
        raise FileNotFoundError(f"scikit-image has no sample photo {name!r}")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def photo(rng: np.random.Generator, width: int, height: int, *, names: tuple[str, ...]) -> np.ndarray:
    """A random cut of a random photo, mirrored, tinted and often a little out of focus."""
    pixels = _photo(str(rng.choice(names)))
    rows, columns = pixels.shape[:2]
    zoom = rng.uniform(0.4, 1.0) * min(columns / width, rows / height)
    wide, high = int(width * zoom), int(height * zoom)
    left, top = int(rng.integers(columns - wide + 1)), int(rng.integers(rows - high + 1))
    cut = cv2.resize(pixels[top : top + high, left : left + wide], (width, height), interpolation=cv2.INTER_CUBIC)
    cut = cut[:, ::-1] if rng.random() < 0.5 else cut
    cut = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), rng.uniform(0.3, width / 150))
    return cut * np.asarray(rng.uniform(0.8, 1.15, 3), np.float32)


TRAINING: Mapping[str, Painter] = {
    "clouds": clouds,
    "fabric": fabric,
    "gradient": gradient,
    "paper": paper,
    "photo": partial(photo, names=TRAINING_PHOTOS),
    "photo again": partial(photo, names=TRAINING_PHOTOS),
    "polygons": polygons,
    "shelf": shelf,
    "wood": wood,
}
HELD_OUT: Mapping[str, Painter] = {
    "bokeh": bokeh,
    "cardboard": cardboard,
    "foliage": foliage,
    "marble": marble,
    "photo": partial(photo, names=HELD_OUT_PHOTOS),
    "photo again": partial(photo, names=HELD_OUT_PHOTOS),
    "tiles": tiles,
    "windows": windows,
}
