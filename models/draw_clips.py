"""Draw the sample clips of ``examples/video`` and their truth.

    pip install -r models/requirements-train.txt
    python models/draw_clips.py

``codes.mp4`` has three codes that move; one leaves the view and comes back. In ``passing.mp4`` one code at a time passes:
none, a QR code, none, a barcode, none. ``truth.json`` gives for each file width, height, fps and frames, a list with one
entry per frame: [{id, label, box}], box [x, y, width, height] in pixels, cut off at the frame. A code counts as seen while
at least half of it is in view, and has the same id when it comes back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from scenes import BARCODE, HELD_OUT, QR_CODE, SceneObject
from scenes.clip import ClipFrame, Pose, Track, draw_clip, visible_box
from scenes.codes import draw_code

SIZE = (640, 360)
FPS = 25


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What one file shows."""

    seed: int
    seconds: int
    background: str
    tracks: Callable[[np.random.Generator], list[Track]]

    def frames(self) -> Iterable[ClipFrame]:
        return draw_clip(
            self.seed,
            tracks=self.tracks(np.random.default_rng([self.seed, 1])),
            background=HELD_OUT[self.background],
            size=SIZE,
            fps=FPS,
            frames=self.seconds * FPS,
        )


def _moving(rng: np.random.Generator) -> list[Track]:
    """A QR code that wanders, a barcode that leaves on the right and returns, a barcode that hardly moves."""
    return [
        Track(
            id=1,
            code=draw_code(rng, label=QR_CODE),
            width=0.17,
            poses=[
                Pose(second=0, centre=(0.2, 0.35), turn=-8),
                Pose(second=3.5, centre=(0.42, 0.3), turn=10, tilt=(20, 0), size=1.2),
                Pose(second=7, centre=(0.5, 0.36), turn=14, tilt=(0, 25)),
                Pose(second=11, centre=(0.18, 0.42), turn=-15, tilt=(0, -10), size=0.9),
            ],
        ),
        Track(
            id=2,
            code=draw_code(rng, label=BARCODE),
            width=0.2,
            poses=[
                Pose(second=0.5, centre=(0.55, 0.78), turn=5),
                Pose(second=2.5, centre=(0.8, 0.7), turn=-6),
                Pose(second=4.5, centre=(1.3, 0.66), turn=-12),
                Pose(second=6.0, centre=(1.3, 0.6), turn=-12),
                Pose(second=8.0, centre=(0.78, 0.72), turn=8),
                Pose(second=11, centre=(0.5, 0.8), turn=0, size=1.15),
            ],
        ),
        Track(
            id=3,
            code=draw_code(rng, label=BARCODE),
            width=0.19,
            poses=[Pose(second=0, centre=(0.8, 0.25), turn=-12), Pose(second=11, centre=(0.78, 0.22), turn=-4)],
        ),
    ]


def _passing(rng: np.random.Generator) -> list[Track]:
    """A QR code crosses from the left, then a barcode from the right."""
    return [
        Track(
            id=1,
            code=draw_code(rng, label=QR_CODE),
            width=0.25,
            poses=[
                Pose(second=1.0, centre=(-0.4, 0.5), turn=-10),
                Pose(second=3.5, centre=(0.5, 0.5), turn=4),
                Pose(second=6.0, centre=(1.4, 0.5), turn=12),
            ],
        ),
        Track(
            id=2,
            code=draw_code(rng, label=BARCODE),
            width=0.33,
            poses=[
                Pose(second=6.5, centre=(1.4, 0.55), turn=8),
                Pose(second=8.75, centre=(0.5, 0.5), turn=0),
                Pose(second=11.0, centre=(-0.4, 0.45), turn=-8),
            ],
        ),
    ]


CLIPS = {
    "codes.mp4": Clip(seed=611, seconds=11, background="marble", tracks=_moving),
    "passing.mp4": Clip(seed=612, seconds=12, background="cardboard", tracks=_passing),
}


def write_clip(path: Path, clip: Clip) -> dict[str, Any]:
    """Encode as H.264, as browsers play it, and return the truth."""
    truth = []
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "slow", "g": str(2 * FPS)})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
            truth.append([_entry(number, item) for number, item in sorted(frame.objects.items())])
        container.mux(stream.encode())
    return {"width": SIZE[0], "height": SIZE[1], "fps": FPS, "frames": truth}


def _entry(number: int, item: SceneObject) -> dict[str, Any]:
    left, top, right, bottom = visible_box(item, SIZE)
    box = np.round([left, top, right - left, bottom - top], 2).tolist()
    return {"id": number, "label": item.label, "box": box}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "examples" / "video"
    parser.add_argument("--out", type=Path, default=default)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    truth = {name: write_clip(out / name, clip) for name, clip in CLIPS.items()}
    lines = []
    for name, entry in truth.items():
        frames = ",\n".join(json.dumps(frame) for frame in entry.pop("frames"))
        lines.append(f'{json.dumps(name)}: {json.dumps(entry)[:-1]}, "frames": [\n{frames}\n]}}')
    (out / "truth.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    for name in CLIPS:
        print(f"{out / name}: {(out / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
