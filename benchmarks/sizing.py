"""What a copy of the service needs and does, by size of the model and number of cores: the sizing table of docs/operations.md.

    PYTHONPATH=. python benchmarks/sizing.py
    PYTHONPATH=. python benchmarks/sizing.py --models yolo26n --cores 1

The memory is that of all its processes: right after the start, at work with a network that is there already, and while one
is made at the first use of the weights. Four clients ask for predictions of 16 photos at a time, which lie on disk. YOLO
models get weights of chance: speed and memory are those of trained ones, save that these find nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from benchmarks.handshakes import IMAGES
from tests.e2e.service import Service
from yolo_backend.inference.library import ultralytics
from yolo_backend.settings import BUNDLED_MODELS

CLIENTS, TASKS = 4, 16
CLASSES = {"demo-detect": "qr_code"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="demo-detect,yolo26n,yolo26s,yolo26m")
    parser.add_argument("--cores", default="1,2")
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    print("| model | cores | images per second | MB before work | MB at work | MB at first | seconds to ready |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as root:
        for name, cores in itertools.product(arguments.models.split(","), map(int, arguments.cores.split(","))):
            if not (BUNDLED_MODELS / f"{name}.pt").exists() and not (Path(root) / f"{name}.pt").exists():
                ultralytics().YOLO(f"{name}.yaml").save(Path(root) / f"{name}.pt")
            print(row(name, cores, Path(root), arguments.seconds), flush=True)


def row(name: str, cores: int, root: Path, seconds: float) -> str:
    """Measure one model on so many cores."""
    config = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image" model_path="{name}.pt">'
        f'<Label value="Thing" predicted_values="{CLASSES.get(name, "0")}"/></RectangleLabels></View>'
    )
    names = sorted(path.name for path in IMAGES.glob("*.jpg"))
    numbers, end = itertools.count(), 0.0
    settings = {"LOCAL_FILES_DOCUMENT_ROOT": str(IMAGES), "MODEL_ROOT": str(root)}

    def predict(service: Service) -> int:
        done = 0
        with requests.Session() as session:
            while not done or time.monotonic() < end:
                tasks = [
                    {"id": n, "data": {"image": f"/data/local-files/?d={names[n % len(names)]}", "n": n}}
                    for n in itertools.islice(numbers, TASKS)
                ]
                answer = session.post(
                    f"{service.url}/predict", json={"tasks": tasks, "label_config": config}, timeout=300
                )
                assert all(answer.json()["results"]), service.log
                done += TASKS
        return done

    everything = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        os.sched_setaffinity(0, sorted(everything)[:cores])  # what it starts has no more
        with Service(Path(directory), settings) as service:
            os.sched_setaffinity(0, everything)
            while requests.get(f"{service.url}/ready", timeout=60).status_code != 200:
                time.sleep(0.05)
            ready = time.monotonic() - started
            before = at_first = megabytes(service.server.pid)
            predict(service)
            while "goes on in openvino" not in service.log:
                at_first = max(at_first, megabytes(service.server.pid))
                time.sleep(0.1)
            predict(service)
            # With the network there already, as from the second start on.
            service.server.stop()
            os.sched_setaffinity(0, sorted(everything)[:cores])
            service.start()
            os.sched_setaffinity(0, everything)
            predict(service)
            started = time.monotonic()
            end = started + seconds
            with ThreadPoolExecutor(CLIENTS) as clients:
                clicks = [clients.submit(predict, service) for _ in range(CLIENTS)]
                at_work = 0.0
                while not all(click.done() for click in clicks):
                    at_work = max(at_work, megabytes(service.server.pid))
                    time.sleep(0.1)
                done = sum(click.result() for click in clicks)
            rate = done / (time.monotonic() - started)
    return f"| {name} | {cores} | {rate:.1f} | {before:.0f} | {at_work:.0f} | {at_first:.0f} | {ready:.1f} |"


def megabytes(process: int) -> float:
    """Return the memory of a process and of all that it has started; what they share is counted once."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        threads = Path(f"/proc/{process}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
    except OSError:  # it has ended
        return 0
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
    return own + sum(megabytes(int(child)) for child in children)


if __name__ == "__main__":
    main()
