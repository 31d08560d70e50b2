"""How fast objects are followed through a video, beside the library's own loop over its frames.

    PYTHONPATH=. python benchmarks/video.py

Both sides take turns and have the same weights, tracker and thresholds; the numbers are medians. The service's part is all
that it does for a task but fetching: decoding, the model, the tracker, key frames.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.scores import CLIPS, predict, tracking_config
from yolo_backend.inference import ModelSpec
from yolo_backend.inference.library import ultralytics
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import BUNDLED_MODELS, Settings

ROUNDS = 5
TRACKERS = ("botsort", "bytetrack")


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    weights = BUNDLED_MODELS / "demo-detect.pt"
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(Settings(model_dir=Path(directory), local_files_document_root=CLIPS))
        engine.models.get(ModelSpec(weights=weights.name))
        engine.models.settle()
        print("| clip | tracker | frames | library, frames/s | service, frames/s | times as fast |")
        print("| --- | --- | --- | --- | --- | --- |")
        for clip in sorted(path.name for path in CLIPS.glob("*.mp4")):
            for tracker in TRACKERS:
                library = ultralytics().YOLO(weights)
                frames = 0

                def loop(library: Any = library, clip: str = clip, tracker: str = tracker) -> None:
                    nonlocal frames
                    results = library.track(
                        CLIPS / clip, stream=True, tracker=f"{tracker}.yaml", conf=0.1, device="cpu", verbose=False
                    )
                    frames = sum(1 for _ in results)

                def service(clip: str = clip, tracker: str = tracker) -> None:
                    predict(engine, tracking_config(tracker), clip)

                loop()
                service()
                rounds = [(seconds(loop), seconds(service)) for _ in range(ROUNDS)]
                plain, ours = (statistics.median(side) for side in zip(*rounds, strict=True))
                row = f"{frames} | {frames / plain:.0f} | {frames / ours:.0f} | {plain / ours:.1f}"
                print(f"| {clip} | {tracker} | {row} |", flush=True)


if __name__ == "__main__":
    main()
