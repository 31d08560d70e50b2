"""A photo with QR codes and barcodes in it, and the exact truth about every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from . import backgrounds, camera
from .surfaces import Surface, draw_surface

SIZES = ((640, 480), (480, 640), (640, 360), (512, 512), (448, 600), (576, 432))


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One code in a scene. The truth is its ink: modules and bars, without quiet zone and without the digits below."""

    label: str
    symbology: str
    text: str
    #: (4, 2) float64 in pixels: top-left, top-right, bottom-right, bottom-left of the code itself, however it is turned.
    corners: np.ndarray

    @property
    def box(self) -> np.ndarray:
        """The upright box around the corners: left, top, right, bottom in pixels."""
        return np.concatenate([self.corners.min(0), self.corners.max(0)])

    @property
    def rotated_box(self) -> tuple[float, float, float, float, float]:
        """The smallest rotated box: centre x, centre y, width, height in pixels and clockwise degrees."""
        (x, y), (width, height), angle = cv2.minAreaRect(self.corners.astype(np.float32))
        return x, y, width, height, angle

    def mask(self, height: int, width: int) -> np.ndarray:
        """True (height, width) where a pixel's centre lies on the code."""
        # Sixteenths of a pixel; OpenCV's integer coordinates are pixel centres.
        fixed = np.round((self.corners - 0.5) * 16).astype(np.int32)
        return cv2.fillConvexPoly(np.zeros((height, width), np.uint8), fixed, 1, shift=4).astype(bool)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """``image`` is uint8 (height, width, 3) RGB."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]


def draw_scene(
    *seed: int,
    families: Mapping[str, backgrounds.Painter] = backgrounds.TRAINING,
    size: tuple[int, int] | None = None,
    codes: int | None = None,
    look_alikes: int | None = None,
    code_widths: tuple[float, float] = (0.1, 0.5),
    turned: float = 0.3,
) -> Scene:
    """The scene of this seed: the same seed and arguments give the same pixels.

    ``size`` is (width, height) in pixels. ``codes`` is how many surfaces with codes to try to place (0: an empty scene);
    by default up to six, and about one scene in ten is empty. ``look_alikes`` is how many surfaces without a code to try.
    ``code_widths`` are fractions of the longer side.
    ``turned`` is the share of surfaces that lie any way, the others are about upright.
    """
    rng = np.random.default_rng(seed)
    width, height = size or SIZES[int(rng.integers(len(SIZES)))]
    if codes is None:
        codes = int(rng.choice([0, 1, 2, 3, 4, 6], p=[0.1, 0.25, 0.25, 0.18, 0.12, 0.1]))
    picture = backgrounds.draw_background(rng, width, height, families)
    taken: list[np.ndarray] = []
    objects: list[SceneObject] = []
    some = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.3, 0.2, 0.15])) + (codes == 0)
    look_alikes = some if look_alikes is None else look_alikes
    for index in range(codes + look_alikes):
        with_codes = index < codes
        longest = code_widths[1] / max(1.0, (codes / 2) ** 0.6)
        fraction = np.exp(rng.uniform(np.log(code_widths[0]), np.log(max(longest, code_widths[0] * 1.2))))
        # Twice the size that it will have in the image, for the camera to average down.
        pixels = max(16, round(2 * fraction * max(width, height)))
        surface = draw_surface(rng, pixels, codes=int(rng.choice([1, 1, 1, 2])) if with_codes else 0)
        homography = _find_room(rng, surface, (width, height), taken, turned=turned)
        if homography is None:
            continue
        camera.paste(picture, surface, homography, shadow=rng.uniform(0, 0.5))
        taken.append(camera.outline(surface, homography))
        objects += place(surface, homography)
    return Scene(image=camera.expose(rng, camera.light(rng, picture)), objects=tuple(objects))


def place(surface: Surface, homography: np.ndarray) -> list[SceneObject]:
    """The surface's codes where the camera sees them."""
    return [
        SceneObject(
            label=printed.code.label,
            symbology=printed.code.symbology,
            text=printed.code.text,
            corners=camera.project(homography, printed.corners),
        )
        for printed in surface.codes
    ]


def draw_turn(rng: np.random.Generator, surface: Surface, *, turned: float) -> float:
    """How far a surface is turned, in radians: a share of ``turned`` any way, the others a little.

    Nothing but its small print tells a barcode from one on its head, so none is: upright ones read from the bottom to
    the top. The order of the corners stays something that can be seen.
    """
    if rng.random() < 1 - turned:
        return float(np.clip(rng.normal(0, np.radians(13)), -0.7, 0.7))
    return float(rng.uniform(np.radians(-95), np.radians(70)) if surface.has_barcode else rng.uniform(-np.pi, np.pi))


def _find_room(
    rng: np.random.Generator,
    surface: Surface,
    size: tuple[int, int],
    taken: list[np.ndarray],
    *,
    turned: float,
    tries: int = 14,
) -> np.ndarray | None:
    """A view of the surface with all of its codes in the image, and off every surface that is there already."""
    for _ in range(tries):
        homography = camera.view(
            surface,
            centre=tuple(rng.uniform([0, 0], size)),
            scale=0.5,
            turn=draw_turn(rng, surface, turned=turned),
            tilt=tuple(np.radians(np.clip(rng.normal(0, 16, 2), -45, 45))),
            focal=max(size) * rng.uniform(0.9, 2.5),
        )
        corners = [camera.project(homography, printed.corners) for printed in surface.codes]
        inside = all((points >= 2).all() and (points <= np.array(size) - 2).all() for points in corners)
        quad = camera.outline(surface, homography).astype(np.float32)
        if inside and not any(cv2.intersectConvexConvex(quad, other.astype(np.float32))[0] for other in taken):
            return homography
    return None
