"""A video of codes that move, leave the view and come back, with the truth of every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from . import backgrounds, camera
from .codes import Code, print_with_quiet_zone
from .scene import SceneObject, place
from .surfaces import PrintedCode, Surface


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a sticker is at a moment: centre in fractions of the frame, turn and tilt in degrees, size as a factor."""

    second: float
    centre: tuple[float, float]
    turn: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Track:
    """One sticker with one code through the clip; ``width`` is the code's, in fractions of the frame's width."""

    id: int
    code: Code
    width: float
    poses: Sequence[Pose]

    def at(self, second: float) -> Pose:
        """The pose at this time: smooth between the given ones, still before the first and after the last."""
        seconds = np.array([pose.second for pose in self.poses])
        index = int(np.clip(np.searchsorted(seconds, second, side="right") - 1, 0, len(seconds) - 2))
        first, last = self.poses[index], self.poses[index + 1]
        part = np.clip((second - first.second) / (last.second - first.second), 0, 1)
        part = part * part * (3 - 2 * part)
        numbers = [np.array([*pose.centre, pose.turn, *pose.tilt, pose.size]) for pose in (first, last)]
        x, y, turn, tilt_x, tilt_y, size = numbers[0] + part * (numbers[1] - numbers[0])
        return Pose(second=second, centre=(x, y), turn=turn, tilt=(tilt_x, tilt_y), size=size)


@dataclass(frozen=True, kw_only=True)
class ClipFrame:
    """``image`` is uint8 (height, width, 3) RGB; ``objects`` has the codes that are at least half in view, by id."""

    image: np.ndarray
    objects: dict[int, SceneObject]


def draw_clip(
    *seed: int, tracks: Sequence[Track], background: backgrounds.Painter, size: tuple[int, int], fps: int, frames: int
) -> Iterator[ClipFrame]:
    """The frames of a clip, one after the other; ``size`` is (width, height) in pixels."""
    rng = np.random.default_rng(seed)
    width, height = size
    # Larger than the frame, for the hand that holds the camera.
    sway = round(width * 0.04)
    ground = np.clip(background(rng, width + 2 * sway, height + 2 * sway), 0, 255)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    lit = (1.05 - 0.35 * ((x / width - 0.4) ** 2 + (y / height - 0.4) ** 2))[..., None]
    stickers = [_sticker(rng, track, width) for track in tracks]
    for number in range(frames):
        second = number / fps
        shift = sway * np.array([np.sin(second * 0.9), np.cos(second * 0.7)])
        move = np.asarray([[1, 0, -sway + shift[0]], [0, 1, -sway + shift[1]]], np.float32)
        picture = cv2.warpAffine(ground, move, size, flags=cv2.INTER_LINEAR)
        objects = {}
        for track, surface in zip(tracks, stickers, strict=True):
            pose = track.at(second)
            homography = camera.view(
                surface,
                centre=(pose.centre[0] * width + shift[0], pose.centre[1] * height + shift[1]),
                scale=0.5 * pose.size,
                turn=np.radians(pose.turn),
                tilt=tuple(np.radians(pose.tilt)),
                focal=1.5 * width,
            )
            camera.paste(picture, surface, homography, shadow=0.35)
            (item,) = place(surface, homography)
            if visible_share(item, size) >= 0.5:
                objects[track.id] = item
        picture = cv2.GaussianBlur(picture * lit, (0, 0), 0.5) + rng.normal(0, 1.2, picture.shape)
        yield ClipFrame(image=np.clip(picture, 0, 255).round().astype(np.uint8), objects=objects)


def visible_share(item: SceneObject, size: tuple[int, int]) -> float:
    """How much of the code's area lies within the frame, 0 to 1."""
    frame = np.asarray([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    quad = item.corners.astype(np.float32)
    shared, _ = cv2.intersectConvexConvex(quad, frame)
    return float(shared / cv2.contourArea(quad))


def visible_box(item: SceneObject, size: tuple[int, int]) -> np.ndarray:
    """The code's box cut off at the frame: left, top, right, bottom in pixels."""
    return np.clip(item.box, 0, [*size, *size])


def _sticker(rng: np.random.Generator, track: Track, frame_width: int) -> Surface:
    patch, (left, top, right, bottom) = print_with_quiet_zone(
        track.code,
        round(2 * track.width * frame_width),
        rng=rng,
        ink=(20.0, 20.0, 24.0),
        paper=(246.0, 244.0, 240.0),
        caption=track.code.label == "barcode",
    )
    margin = max(4, round(patch.shape[0] * 0.08))
    sheet = cv2.copyMakeBorder(
        patch, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(246.0, 244.0, 240.0, 0.0)
    )
    corners = np.asarray([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64) + margin
    return Surface(
        pixels=sheet,
        coverage=np.ones(sheet.shape[:2], np.float32),
        codes=(PrintedCode(code=track.code, corners=corners),),
    )
