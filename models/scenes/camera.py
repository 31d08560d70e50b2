"""What a camera does to flat things: perspective, light, blur, noise, compression.

Coordinates are continuous: pixel i covers i to i + 1, so its centre lies at i + 0.5. OpenCV counts from pixel centres;
the half-pixel steps between the two are here and nowhere else.
"""

from __future__ import annotations

import cv2
import numpy as np

from .backgrounds import noise
from .surfaces import Surface

_HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_MINUS_HALF = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


def view(
    surface: Surface, *, centre: tuple[float, float], scale: float, turn: float, tilt: tuple[float, float], focal: float
) -> np.ndarray:
    """The homography (3, 3) from surface pixels to image pixels.

    ``turn`` is clockwise in the image, ``tilt`` about the horizontal and the vertical axis, all in radians; ``focal`` is
    the camera's distance and focal length in image pixels: the smaller, the stronger the perspective.
    """
    height, width = surface.pixels.shape[:2]
    (sin_z, sin_x, sin_y), (cos_z, cos_x, cos_y) = np.sin([turn, *tilt]), np.cos([turn, *tilt])
    about_z = np.array([[cos_z, -sin_z, 0], [sin_z, cos_z, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    # Turned in its own plane last, so that the tilt's axes are the image's.
    rotation = about_x @ about_y @ about_z
    plane = np.column_stack([rotation[:, 0] * scale, rotation[:, 1] * scale, [0, 0, focal]])
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    to_centre = np.array([[1, 0, centre[0]], [0, 1, centre[1]], [0, 0, 1]])
    homography = to_centre @ np.diag([focal, focal, 1.0]) @ plane @ to_middle
    return homography / homography[2, 2]


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``points`` (n, 2) through the homography."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return lifted[:, :2] / lifted[:, 2:]


def outline(surface: Surface, homography: np.ndarray) -> np.ndarray:
    """The surface's four corners (4, 2) in the image."""
    height, width = surface.pixels.shape[:2]
    return project(homography, np.asarray([[0, 0], [width, 0], [width, height], [0, height]], np.float64))


def paste(picture: np.ndarray, surface: Surface, homography: np.ndarray, *, shadow: float = 0.0) -> None:
    """Draw the surface into ``picture`` (height, width, 3) float32, in place, with a soft shadow of strength 0..1."""
    rows, columns = picture.shape[:2]
    corners = outline(surface, homography)
    spread = max(2.0, float(np.ptp(corners, axis=0).max()) * 0.03)
    left, top = np.maximum(0, np.floor(corners.min(0) - 3 * spread)).astype(int)
    right, bottom = np.minimum([columns, rows], np.ceil(corners.max(0) + 3 * spread)).astype(int)
    if right <= left or bottom <= top:
        return
    width, height = int(right - left), int(bottom - top)
    # Twice the size, then averaged down: the texture's fine bars must not alias.
    into_area = np.diag([2.0, 2.0, 1.0]) @ np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ homography
    matrix = _MINUS_HALF @ into_area @ _HALF
    double = (2 * width, 2 * height)
    warped = cv2.warpPerspective(
        surface.pixels, matrix, double, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    coverage = cv2.warpPerspective(surface.coverage, matrix, double, flags=cv2.INTER_LINEAR)
    coverage3 = coverage[..., None]
    ink = cv2.resize(warped * coverage3, (width, height), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA)[..., None]
    area = picture[top:bottom, left:right]
    if shadow > 0:
        blurred = cv2.GaussianBlur(alpha[..., 0], (0, 0), spread)
        shift = np.asarray([[1, 0, spread], [0, 1, spread]], np.float32)
        area *= 1 - shadow * cv2.warpAffine(blurred, shift, (width, height))[..., None]
    area[:] = ink + (1 - alpha) * area


def light(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Uneven light, a cast shadow, glare, a colour cast and a change of contrast."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6)
    amount = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y) - rng.uniform(0, 0.5) * (x * x + y * y)
    if rng.random() < 0.3:
        # The edge of somebody's shadow.
        edge = np.cos(angle * 3) * x + np.sin(angle * 3) * y + rng.uniform(-0.3, 0.3)
        amount = amount * (1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-edge * rng.uniform(20, 150))))
    picture = (
        picture
        * amount[..., None]
        * np.asarray(rng.uniform(0.9, 1.08, 3), np.float32)
        * np.asarray(rng.uniform(0.65, 1.12), np.float32)
    )
    if rng.random() < 0.2:
        spot = (x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.5, 0.5)) ** 2
        picture = picture + rng.uniform(30, 110) * np.exp(-spot / rng.uniform(0.003, 0.03))[..., None]
    picture = np.clip(picture, 0, 255) / 255
    return 255 * picture ** np.asarray(rng.uniform(0.75, 1.3), np.float32)


def expose(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Blur, sensor noise and JPEG; returns uint8 (height, width, 3)."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    picture = cv2.GaussianBlur(
        picture, (0, 0), max(0.3, longest / 640 * rng.choice([0.3, 0.6, 1.0]) * rng.uniform(0.8, 1.2))
    )
    if rng.random() < 0.2:
        picture = cv2.filter2D(picture, -1, _motion(rng, longest * rng.uniform(0.002, 0.007)))
    grain = rng.uniform(0, 7)
    picture = picture + rng.normal(0, grain, picture.shape).astype(np.float32)
    if rng.random() < 0.2:
        picture = picture + rng.uniform(0, 12) * (
            noise(rng, width, height, cells=longest / 6, octaves=1)[..., None] - 0.5
        )
    if rng.random() < 0.06:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, axis=2)
    return compress(np.clip(picture, 0, 255).round().astype(np.uint8), quality=int(rng.integers(35, 96)))


def compress(image: np.ndarray, *, quality: int) -> np.ndarray:
    """``image`` (height, width, 3) uint8 RGB as it comes back from a JPEG file."""
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV cannot read back its own JPEG"
    return decoded[..., ::-1]


def _motion(rng: np.random.Generator, length: float) -> np.ndarray:
    """A blur kernel: a line of this length in a random direction."""
    size = 2 * int(np.ceil(length)) + 1
    kernel = np.zeros((size, size), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = ((np.full(2, size // 2) + sign * reach).round().astype(int) for sign in (-1, 1))
    cv2.line(kernel, tuple(int(v) for v in start), tuple(int(v) for v in end), 1.0, 1)
    return kernel / kernel.sum()
