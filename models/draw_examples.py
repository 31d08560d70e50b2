"""Draw the sample images of ``examples/images`` and their truth: other codes, other backgrounds than in training.

    pip install -r models/requirements-train.txt
    python models/draw_examples.py

``truth.json`` says for each file its width and height and its objects: label, box [x, y, width, height] and corners
[[x, y] × 4] (top-left, top-right, bottom-right, bottom-left of the code), all in pixels of the image as it is shown, that
is after its EXIF orientation. The scenes are those of one fixed seed, in order; none was left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scenes import HELD_OUT, Scene, draw_scene

SEED = 4242
#: Width, height and surfaces with codes of each image, in pixels.
IMAGES = (
    (1280, 960, 3), (960, 1280, 2), (640, 480, 1), (1600, 1200, 4), (1280, 720, 2), (720, 1280, 3), (800, 600, 2),
    (1024, 768, 0), (1280, 960, 4), (1000, 1000, 2), (768, 1024, 1), (1600, 900, 3), (640, 640, 2), (900, 1600, 4),
    (1024, 768, 3), (1280, 960, 1), (1280, 853, 0), (853, 1280, 2), (1280, 960, 6), (1200, 800, 3),
)  # fmt: skip
#: This one is stored lying on its side, as phones do, with the EXIF orientation 6: turn it clockwise to show it.
TURNED = 1
ORIENTATION_TAG = 0x0112


def draw_example(index: int) -> Scene:
    """The scene of one sample image."""
    width, height, codes = IMAGES[index]
    return draw_scene(SEED, index, families=HELD_OUT, size=(width, height), codes=codes, code_widths=(0.13, 0.4))


def truth_of(scene: Scene) -> dict[str, Any]:
    """The scene's entry in ``truth.json``."""
    height, width = scene.image.shape[:2]
    objects = []
    for item in scene.objects:
        left, top, right, bottom = item.box
        box = np.round([left, top, right - left, bottom - top], 2).tolist()
        objects.append({"label": item.label, "box": box, "corners": np.round(item.corners, 2).tolist()})
    return {"width": width, "height": height, "objects": objects}


def save(scene: Scene, path: Path, *, turned: bool) -> None:
    """Write the image as JPEG, lying on its side with an EXIF orientation if ``turned``."""
    image = Image.fromarray(np.ascontiguousarray(scene.image))
    exif = Image.Exif()
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ORIENTATION_TAG] = 6
    image.save(path, quality=82, exif=exif)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "examples" / "images"
    parser.add_argument("--out", type=Path, default=default)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    truth = {}
    for index in range(len(IMAGES)):
        scene = draw_example(index)
        name = f"photo-{index + 1:02d}.jpg"
        save(scene, out / name, turned=index == TURNED)
        truth[name] = truth_of(scene)
    # One line an image keeps the file readable and its changes too.
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in truth.items())
    (out / "truth.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"{len(truth)} images, {sum(len(entry['objects']) for entry in truth.values())} codes in {out}")


if __name__ == "__main__":
    main()
