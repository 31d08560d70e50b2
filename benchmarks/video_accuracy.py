"""How well objects are followed and ranges found on the sample clips, whose truth is known for each frame.

    PYTHONPATH=. python benchmarks/video_accuracy.py                      # every tracker
    PYTHONPATH=. python benchmarks/video_accuracy.py botsort bytetrack

MOTA, misses, extra boxes and identity switches are CLEAR MOT's, counted on what Label Studio draws, at an IoU of 0.5. A code
counts as seen in the truth while half of it is in view.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.scores import CLIPS, frame_iou, predict, score_regions, timeline_config, tracking_config, truth_of
from yolo_backend.inference.tracking import trackers
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings


def follow(engine: Engine, names: Sequence[str]) -> None:
    """Print a row for each clip and tracker."""
    print("| clip | tracker | MOTA | missed | extra | switches | IoU | objects | key frames of boxes | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for clip in sorted(path.name for path in CLIPS.glob("*.mp4")):
        for name in names:
            started = time.monotonic()
            regions = predict(engine, tracking_config(name), clip)
            seconds = time.monotonic() - started
            score = score_regions(regions, truth_of(clip))
            counts = f"{score.missed} | {score.extra} | {score.switches} | {score.mean_iou:.3f} | {len(regions)}"
            keys = f"{score.key_frames} of {score.truths}"
            print(f"| {clip} | {name} | {score.mota:.3f} | {counts} | {keys} | {seconds:.1f} |")


def find_ranges(engine: Engine) -> None:
    """Print how well the ranges of each label fit."""
    clip = "passing.mp4"
    regions = predict(engine, timeline_config(), clip)
    for label in ("qr_code", "barcode"):
        overlap = frame_iou(regions, truth_of(clip), label)
        print(f"{clip}, frames with a {label}: IoU {overlap:.3f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trackers", nargs="*", choices=[[], *trackers()], metavar="tracker")
    names = parser.parse_args().trackers or list(trackers())
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(Settings(model_dir=Path(directory), local_files_document_root=CLIPS))
        follow(engine, names)
        find_ranges(engine)


if __name__ == "__main__":
    main()
