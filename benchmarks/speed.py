"""How fast the service is, beside the plain loop that it takes the place of and beside what the machine could do at most.

    PYTHONPATH=. python benchmarks/speed.py            # every table of docs/performance.md
    PYTHONPATH=. python benchmarks/speed.py --only tasks,latency

The service runs under gunicorn and fetches pictures from a server that wants a token, as Label Studio does. The plain loop
does what one would write with the YOLO library alone: fetch, save, ``model.predict(path)``. The raw limit is the same
network in OpenVINO with its inputs in memory. All sides take turns; numbers are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests
from PIL import Image

from tests.e2e.service import Service
from yolo_backend.settings import BUNDLED_MODELS

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"
TOKEN = "benchmark"
WIDTH = 1280  # pixels of the pictures' longer side
TASKS = 64
ROUNDS = 5
NAMES = ("person", "car", "dog")

Boxes = list[tuple[Sequence[float], float]]
"""Left, top, right, bottom in percent of a picture, and the score, of the boxes on it."""

_numbers = itertools.count(1)


# The other sides, each in a process of its own


class Side:
    """A process that runs a function with what it is sent, and sends back the seconds that it took and what came out."""

    def __init__(self, target: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, target, arguments), daemon=True)
        self._process.start()
        self._pipe.recv()

    def run(self, what: Any) -> tuple[float, Any]:
        """Return seconds and outcome."""
        self._pipe.send(what)
        seconds, outcome = self._pipe.recv()
        return float(seconds), outcome

    @property
    def processor_seconds(self) -> float:
        """Processor time of the process until now."""
        assert self._process.pid is not None
        return processor_seconds(self._process.pid)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: multiprocessing.connection.Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
    work = target(*arguments)
    pipe.send(None)
    while True:
        what = pipe.recv()
        started = time.perf_counter()
        outcome = work(what)
        pipe.send((time.perf_counter() - started, outcome))


def processor_seconds(process: int) -> float:
    """Return the processor time of a process, on all cores, until now."""
    counts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(counts[11]) + int(counts[12])) / os.sysconf("SC_CLK_TCK")


def picture_server(directory: str) -> Callable[[Any], int]:
    """Serve the pictures of a directory by name, whatever the query, to those who have the token."""
    files = {path.name: path.read_bytes() for path in Path(directory).iterdir()}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == f"Token {TOKEN}"
            body = files.get(self.path.partition("?")[0].rpartition("/")[2])
            self.send_response(200 if allowed and body else 403)
            body = body if allowed and body else b""
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return lambda _: server.server_port


def plain_loop(weights: str) -> Callable[[Sequence[str]], list[Any]]:
    """Fetch one picture after the other, and show each to the model."""
    from ultralytics import YOLO

    model = YOLO(weights)

    def work(urls: Sequence[str]) -> list[Any]:
        found = []
        for url in urls:
            answer = requests.get(url, headers={"Authorization": f"Token {TOKEN}"}, timeout=10)
            answer.raise_for_status()
            with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
                file.write(answer.content)
                file.flush()
                result = model.predict(file.name, conf=0.5, verbose=False)[0]
            corners = (result.boxes.xyxyn.numpy() * 100).tolist()
            found.append(list(zip(corners, result.boxes.conf.tolist(), strict=True)))
        return found

    return work


def raw_limit(network: str, shapes: Sequence[tuple[int, int]]) -> Callable[[int], None]:
    """Run a network on inputs in memory, as many of each shape."""
    import openvino

    core = openvino.Core()
    queues = []
    for height, width in shapes:
        model = core.read_model(next(Path(network).glob("*.xml")))
        model.reshape([1, 3, height, width])
        config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": openvino.Type.f32}
        queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", config))
        queues.append((queue, np.random.default_rng(0).random((1, 3, height, width), np.float32)))

    def work(count: int) -> None:
        for queue, data in queues:
            for _ in range(count // len(queues)):
                queue.start_async({0: data})
            queue.wait_all()

    work(len(queues) * 4)
    return work


# The service


@dataclass
class Bench:
    """The service with what it needs, and the other sides."""

    service: Service
    pictures: str
    session: requests.Session = field(default_factory=requests.Session)

    def tasks(self, names: Sequence[str], count: int) -> list[dict[str, Any]]:
        """Return tasks that nobody asked for before."""
        return [
            {"id": number, "data": {"image": f"/data/upload/1/{names[number % len(names)]}?n={number}"}}
            for number in itertools.islice(_numbers, count)
        ]

    def predict(self, tasks: Sequence[Mapping[str, Any]], config: str) -> tuple[float, list[Any]]:
        """Return the seconds of a predict request and its predictions."""
        body = {"tasks": tasks, "label_config": config, "project": "1.1"}
        started = time.perf_counter()
        answer = self.session.post(f"{self.service.url}/predict", json=body, timeout=600)
        seconds = time.perf_counter() - started
        answer.raise_for_status()
        predictions = answer.json()["results"]
        assert all(predictions), "a task was left out"
        return seconds, predictions

    @property
    def worker(self) -> int:
        """The process that predicts."""
        (worker, *_) = self.service.server.children()
        return worker

    def seconds_spent(self) -> dict[str, float]:
        """Return what the service itself has measured of its steps until now, in seconds."""
        answer = self.session.get(f"{self.service.url}/metrics", timeout=10)
        answer.raise_for_status()
        sums = (line.rsplit(" ", 1) for line in answer.text.splitlines() if "_seconds_sum" in line)
        totals: defaultdict[str, float] = defaultdict(float)
        for name, value in sums:
            totals[name.partition("{")[0].removeprefix("yolo_backend_").removesuffix("_seconds_sum")] += float(value)
        return totals

    def memory(self) -> float:
        """Return the resident memory of the worker, in MB."""
        lines = Path(f"/proc/{self.worker}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def rectangles(weights: str, *names: str, labels: Sequence[str] = NAMES) -> str:
    """Return a labeling config with a RectangleLabels of each name, all on one image."""
    inner = "".join(f'<Label value="{label}"/>' for label in labels)
    tags = "".join(
        f'<RectangleLabels name="{name}" toName="image" model_path="{weights}">{inner}</RectangleLabels>'
        for name in names
    )
    return f'<View><Image name="image" value="$image"/>{tags}</View>'


def make_pictures(directory: Path) -> list[str]:
    """Write the sample images with a longer side of `WIDTH` pixels, and some of 12 megapixels."""
    names = []
    for path in sorted(IMAGES.glob("*.jpg")):
        with Image.open(path) as image:
            for prefix, scale in (
                ("", WIDTH / max(image.size)),
                ("large-", (12e6 / image.width / image.height) ** 0.5),
            ):
                size = round(image.width * scale), round(image.height * scale)
                image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(
                    directory / f"{prefix}{path.name}", quality=90
                )
        names.append(path.name)
    return names


def make_weights(directory: Path) -> str:
    """Write weights of an n-scale YOLO with COCO's names, made from the library's own YAML."""
    from ultralytics import YOLO
    from ultralytics.utils import ROOT, YAML

    model = YOLO("yolo11n.yaml")
    model.model.names = YAML.load(ROOT / "cfg/datasets/coco.yaml")["names"]
    model.ckpt = {}
    model.save(directory / "bench-n.pt")
    return "bench-n.pt"


@contextlib.contextmanager
def running(directory: Path, pictures_port: int, settings: Mapping[str, str]) -> Iterator[Bench]:
    """Start the service, with its networks for OpenVINO made."""
    url = f"http://127.0.0.1:{pictures_port}"
    given = {
        "MODEL_ROOT": str(directory),
        "LABEL_STUDIO_URL": url,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "PREDICT_DEADLINE": "600",
        "BASIC_AUTH_USER": TOKEN,  # for /status
        "BASIC_AUTH_PASS": TOKEN,
    }
    with Service(directory, {**given, **settings}) as service:
        bench = Bench(service, url)
        bench.session.auth = (TOKEN, TOKEN)
        yield bench


def settled(bench: Bench, names: Sequence[str], configs: Sequence[str]) -> None:
    """Predict until every model has gone on to OpenVINO."""
    for config in configs:
        bench.predict(bench.tasks(names, 8), config)
    deadline = time.monotonic() + 300
    while any(model["runtime"] == "pytorch" for model in bench.service.status()["models"]):
        if time.monotonic() > deadline:
            raise SystemExit("no network for OpenVINO was made; the service's log says why")
        time.sleep(0.5)
    for config in configs:
        bench.predict(bench.tasks(names, 16), config)


def answered(predictions: Sequence[Any]) -> list[Boxes]:
    """Return the boxes of predictions."""
    return [
        [
            ((value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]), region["score"])
            for region in prediction["result"]
            if (value := region["value"])
        ]
        for prediction in predictions
    ]


def truth(name: str) -> Boxes:
    """Return the boxes that there really are on a sample image."""
    scene = json.loads((IMAGES / "truth.json").read_text())[name]
    size = np.array([scene["width"], scene["height"]])
    boxes = [np.array(one["box"]).reshape(2, 2) for one in scene["objects"]]
    return [(tuple((np.vstack([box[0], box.sum(0)]) / size * 100).ravel()), 1.0) for box in boxes]


def matched(ours: Boxes, theirs: Boxes) -> list[tuple[float, float, float]]:
    """Return, for each of their boxes that is one of ours too, IoU, greatest distance of an edge in percent, and of score."""
    found = []
    left = list(ours)
    for box, score in theirs:
        overlaps = [_iou(box, mine) for mine, _ in left]
        if overlaps and max(overlaps) > 0.5:
            mine, own = left.pop(int(np.argmax(overlaps)))
            found.append((max(overlaps), float(np.abs(np.subtract(mine, box)).max()), abs(own - score)))
    return found


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    left, top, right, bottom = np.r_[np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]
    both = max(right - left, 0) * max(bottom - top, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(both / (areas - both))


def agreement(ours: Sequence[Boxes], theirs: Sequence[Boxes]) -> str:
    """Say how many boxes of the other side the service has too, and how far they are from each other."""
    pairs = [pair for mine, other in zip(ours, theirs, strict=True) for pair in matched(mine, other)]
    _, furthest, drift = np.max([*pairs, (0, 0, 0)], axis=0)
    count, total = sum(map(len, theirs)), sum(map(len, ours))
    return (
        f"{len(pairs)} of {count} boxes, {total - len(pairs)} others, "
        f"edges within {furthest:.2f} %, scores within {drift:.3f}"
    )


def overlap(found: Sequence[Boxes], names: Sequence[str]) -> str:
    """Say how well boxes fit to what there really is."""
    pairs = [pair[0] for boxes, name in zip(found, names, strict=True) for pair in matched(boxes, truth(name))]
    return f"{np.mean(pairs):.3f}"


def rounds(sides: Mapping[str, Callable[[], float]], count: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each side, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(count):
        for name, run in sides.items():
            seconds[name].append(run())
    return {name: statistics.median(values) for name, values in seconds.items()}


class Health:
    """Asks /health 20 times a second for as long as the context lasts."""

    def __init__(self, url: str) -> None:
        self.milliseconds: list[float] = []
        self._url = url
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._end.wait(0.05):
                started = time.perf_counter()
                session.get(f"{self._url}/health", timeout=30)
                self.milliseconds.append(1000 * (time.perf_counter() - started))

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def machine() -> str:
    """Describe what this runs on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    processor = next((line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name")), "")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ultralytics-opencv-headless", "openvino"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {processor or platform.processor()}; Python {platform.python_version()}, {packages}"


def main(only: Sequence[str], settings: Mapping[str, str]) -> None:
    """Print the tables."""
    print(f"On {machine()}.\n")
    row("what", "here", "against", "ratio", "detections")
    row(*["---"] * 5)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        (directory / "pictures").mkdir()
        names = make_pictures(directory / "pictures")
        weights = make_weights(directory)
        server = Side(picture_server, str(directory / "pictures"))
        stack.callback(server.close)
        _, port = server.run(None)
        one, three = (rectangles(weights, *tags) for tags in ("a", "abc"))
        codes, three_codes = (
            rectangles("demo-detect.pt", *tags, labels=("qr_code", "barcode")) for tags in ("a", "abc")
        )
        with running(directory, port, settings) as bench:
            settled(bench, names, [one])
            at_first = bench.memory()
            settled(bench, names, [codes])
        started = time.perf_counter()
        bench = stack.enter_context(running(directory, port, settings))
        start = time.perf_counter() - started
        settled(bench, names, [one])
        memory = bench.memory()
        settled(bench, names, [codes])
        with Health(bench.service.url) as health:
            measure(bench, directory, names, weights, (one, three, codes, three_codes), only, stack)
        row("`/health` during all of it, p99", f"{np.percentile(health.milliseconds, 99):.0f} ms", "", "", "")
        row("start to `/health`", f"{start:.2f} s", "", "", "")
        row("memory with one model", f"{memory:.0f} MB", f"at the first start, {at_first:.0f} MB", "", "")


def measure(
    bench: Bench,
    directory: Path,
    names: Sequence[str],
    weights: str,
    configs: tuple[str, str, str, str],
    only: Sequence[str],
    stack: contextlib.ExitStack,
) -> None:
    """Print the rows that were asked for."""
    one, three, codes, three_codes = configs

    def ours(count: int, config: str) -> float:
        return bench.predict(bench.tasks(names, count), config)[0]

    def urls(count: int) -> list[str]:
        return [f"{bench.pictures}{task['data']['image']}" for task in bench.tasks(names, count)]

    def wanted(name: str) -> bool:
        return not only or name in only

    if wanted("tasks") or wanted("latency"):
        loop = Side(plain_loop, str(directory / weights))
        stack.callback(loop.close)
        loop.run(urls(4))
    if wanted("tasks"):
        network = next((directory / "data" / "openvino").glob("bench-n-*_openvino_model"))
        shapes = sorted({_shape(directory / "pictures" / name) for name in names})
        limit = Side(raw_limit, str(network), shapes)
        stack.callback(limit.close)
        before = processor_seconds(bench.worker), limit.processor_seconds
        seconds = rounds(
            {
                "service": lambda: ours(TASKS, one),
                "loop": lambda: loop.run(urls(TASKS))[0],
                "limit": lambda: limit.run(TASKS)[0] * TASKS / (TASKS // len(shapes) * len(shapes)),
            }
        )
        rates = {side: TASKS / taken for side, taken in seconds.items()}
        demo = Side(plain_loop, str(BUNDLED_MODELS / "demo-detect.pt"))
        stack.callback(demo.close)
        asked = bench.tasks(names, len(names))
        shown = [names[task["id"] % len(names)] for task in asked]
        mine = answered(bench.predict(asked, codes)[1])
        theirs = demo.run([bench.pictures + task["data"]["image"] for task in asked])[1]
        same = agreement(mine, theirs)
        same += f"; mean IoU with the truth {overlap(mine, shown)}, the loop's {overlap(theirs, shown)}"
        here = f"{rates['service']:.1f} tasks/s"
        row(
            f"{TASKS} tasks",
            here,
            f"plain loop, {rates['loop']:.1f}/s",
            f"{rates['service'] / rates['loop']:.2f}",
            same,
        )
        ratio = f"{rates['service'] / rates['limit']:.2f}"
        row("", here, f"raw limit, {rates['limit']:.1f}/s", ratio, "")
        after = processor_seconds(bench.worker), limit.processor_seconds
        spent, least = (1000 * (end - start) / ROUNDS / TASKS for start, end in zip(before, after, strict=True))
        least *= TASKS / (TASKS // len(shapes) * len(shapes))
        row("its processor time", f"{spent:.1f} ms/task", f"raw limit, {least:.1f} ms", f"{least / spent:.2f}", "")
    if wanted("tags"):
        seconds = rounds({"three": lambda: ours(TASKS, three), "one": lambda: ours(TASKS, one)})
        asked = bench.tasks(names, len(names))
        single = [boxes * 3 for boxes in answered(bench.predict(asked, codes)[1])]
        same = "the same" if answered(bench.predict(asked, three_codes)[1]) == single else "others"
        row(
            "three tags on the same weights",
            f"{seconds['three']:.2f} s",
            f"one tag, {seconds['one']:.2f} s",
            f"{seconds['three'] / seconds['one']:.2f}",
            same,
        )
    if wanted("latency"):
        begun = bench.seconds_spent()
        seconds = rounds({"service": lambda: ours(1, one), "loop": lambda: loop.run(urls(1))[0]}, 40)
        row(
            "one task, p50",
            f"{1000 * seconds['service']:.0f} ms",
            f"plain loop, {1000 * seconds['loop']:.0f} ms",
            f"{seconds['service'] / seconds['loop']:.2f}",
            "",
        )
        ended = bench.seconds_spent()
        steps = {step: 1000 / 40 * (ended[step] - begun[step]) for step in ("fetch", "decode", "model")}
        row("of which, on average", ", ".join(f"{step} {taken:.1f} ms" for step, taken in steps.items()), "", "", "")
    if wanted("large"):
        large(bench, directory, names)
    if wanted("flat"):
        flat(bench, names, one)
    if wanted("repeat"):
        tasks = bench.tasks(names, TASKS)
        first, answer = bench.predict(tasks, codes)
        again = [bench.predict(tasks, codes) for _ in range(ROUNDS)]
        same = "the same" if all(other == answer for _, other in again) else "others"
        repeated = statistics.median(taken for taken, _ in again)
        row(
            "the same request again",
            f"{1000 * repeated:.0f} ms",
            f"{1000 * first:.0f} ms",
            f"{first / repeated:.0f}",
            same,
        )


def large(bench: Bench, directory: Path, names: Sequence[str]) -> None:
    """Print the row of large JPEGs: decode, letterbox and run `demo-detect.pt`, in this process."""
    from yolo_backend.inference import Model, PredictOptions
    from yolo_backend.inference.backends.openvino import OpenVINOBackend
    from yolo_backend.media.decode import decode

    network = next((directory / "data" / "openvino").glob("demo-detect-*_openvino_model"))
    model = Model(OpenVINOBackend(network))
    options = PredictOptions(confidence=0.5)
    files = [(directory / "pictures" / f"large-{name}").read_bytes() for name in names[:8]]

    def scale(width: int, height: int) -> float:
        return model.least_scale(width, height, options)

    def work(least_scale: Callable[[int, int], float] | None) -> list[Any]:
        found = []
        for file in files:
            picture = decode(file, max_megapixels=100, least_scale=least_scale)
            (one,) = model.predict([picture.pixels], options)
            found.append(one)
        return found

    def taken(least_scale: Callable[[int, int], float] | None) -> float:
        started = time.perf_counter()
        work(least_scale)
        return time.perf_counter() - started

    def decoded(least_scale: Callable[[int, int], float] | None) -> float:
        started = time.perf_counter()
        for file in files:
            decode(file, max_megapixels=100, least_scale=least_scale)
        return time.perf_counter() - started

    seconds = rounds({"reduced": lambda: decoded(scale), "full": lambda: decoded(None)})
    row(
        "12-megapixel JPEG, decoded",
        f"{1000 * seconds['reduced'] / len(files):.0f} ms",
        f"decoded in full, {1000 * seconds['full'] / len(files):.0f} ms",
        f"{seconds['full'] / seconds['reduced']:.1f}",
        "",
    )
    work(scale)
    seconds = rounds({"reduced": lambda: taken(scale), "full": lambda: taken(None)})
    reduced, full = ([_boxes(one) for one in work(how)] for how in (scale, None))
    row(
        "12-megapixel JPEG, predicted",
        f"{1000 * seconds['reduced'] / len(files):.0f} ms",
        f"decoded in full, {1000 * seconds['full'] / len(files):.0f} ms",
        f"{seconds['full'] / seconds['reduced']:.1f}",
        agreement(reduced, full),
    )


def _boxes(found: Any) -> Boxes:
    corners = found.boxes / (found.width, found.height, found.width, found.height) * 100
    return list(zip(corners.tolist(), found.scores.tolist(), strict=True))


def flat(bench: Bench, names: Sequence[str], config: str) -> None:
    """Print the rows of requests from 1 to 2,000 tasks: time for each task, and memory."""
    costs, memory = {}, {}
    for count in (1, 16, 100, 500, 2000):
        taken = [bench.predict(bench.tasks(names, count), config)[0] for _ in range(ROUNDS if count < 500 else 1)]
        costs[count], memory[count] = 1000 * statistics.median(taken) / count, bench.memory()
    later = [cost for count, cost in costs.items() if count >= 16]
    shown = ", ".join(f"{count}: {cost:.1f}" for count, cost in costs.items())
    row("ms per task by tasks in a request", shown, "slowest to fastest, from 16", f"{max(later) / min(later):.2f}", "")
    growth = memory[2000] - memory[100]
    row("memory with 2,000 tasks", f"{memory[2000]:.0f} MB", f"with 100, {memory[100]:.0f} MB", f"{growth:+.0f} MB", "")


def _shape(path: Path) -> tuple[int, int]:
    from yolo_backend.inference.preprocess import Letterbox

    image = cv2.imread(str(path))
    assert image is not None
    box = Letterbox.fit(image.shape[1], image.shape[0], (640, 640), stride=32)
    return box.height, box.width


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows: tasks, tags, latency, large, flat, repeat")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the service")
    arguments = parser.parse_args()
    main([name for name in arguments.only.split(",") if name], dict(item.split("=", 1) for item in arguments.set))
