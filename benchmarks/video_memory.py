"""How much memory a long video takes: the sample clip over and over, its codes followed and its frames classified.

    PYTHONPATH=. python benchmarks/video_memory.py                 # 1,000 and 10,000 frames
    PYTHONPATH=. python benchmarks/video_memory.py 100000

Each video is predicted by a process of its own; the peak is that of its resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tests.support.clips import read_frames, write_clip
from tests.support.scores import CLIPS, LABELS, VIDEO, predict
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import Settings

RATE = 25
CONFIG = f"""<View><Labels name="label" toName="video">{LABELS}</Labels>{VIDEO}
  <VideoRectangle name="box" toName="video" model_path="demo-detect.pt" model_imgsz="160"/>
  <TimelineLabels name="seen" toName="video" model_path="demo-classify.pt" model_imgsz="96">{LABELS}</TimelineLabels></View>"""


def pictures() -> Iterator[np.ndarray]:
    """Yield the pictures of the sample clip without an end."""
    yield from cycle([frame.pixels for frame in read_frames(CLIPS / "codes.mp4")])


def measure(path: Path) -> tuple[float, int, float]:
    """Return the seconds that a video takes, its regions, and the peak of this process's memory in megabytes (10^6)."""
    engine = Engine(Settings(model_dir=path.parent, local_files_document_root=path.parent, runtime="pytorch"))
    started = time.monotonic()
    regions = predict(engine, CONFIG, path.name)
    return time.monotonic() - started, len(regions), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="*", type=int, default=[1000, 10_000])
    lengths = parser.parse_args().frames
    print("| frames | regions | seconds | peak MB |\n| --- | --- | --- | --- |")
    for frames in lengths:
        with tempfile.TemporaryDirectory() as directory:
            times = [index / RATE for index in range(frames)]
            path = write_clip(Path(directory) / "long.mp4", times, islice(pictures(), frames), size=(640, 360))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, regions, megabytes = pool.apply(measure, [path])
        print(f"| {frames} | {regions} | {seconds:.0f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
