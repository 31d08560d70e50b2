"""Lists the available weights, writes a labeling config for some, and explains what a labeling config will do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from yolo_backend.controls import CONTROLS, Control
from yolo_backend.controls.video_rectangle import VideoRectangle
from yolo_backend.errors import ConfigError, WeightsError
from yolo_backend.inference import WeightsStore
from yolo_backend.inference.backends.loading import load_backend
from yolo_backend.label_studio.class_names import quote_name, visible
from yolo_backend.label_studio.labeling_config import parse_labeling_config
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.plan import InferencePass
from yolo_backend.pipeline.prepare import incompatibility
from yolo_backend.settings import Settings

COLOURS = ("#f33417", "#487af0", "#1a941a", "#e82ca3", "#008f8f", "#b47200", "#a25bf2", "#5e8d00", "#0085d7", "#d75906")
"""For labels; each can be read in the editor's list of regions, which is as light or as dark as its theme."""

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

TAGS = {"detect": "RectangleLabels", "segment": "PolygonLabels", "pose": "KeyPointLabels", "obb": "RectangleLabels"}
"""The tag that shows best the results of a YOLO task; for classification it is Choices."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights.

    Attributes:
        name: For ``model_path``.
        task: Of YOLO; empty if the file can't be loaded.
        classes: In the order of their numbers.
        megabytes: Its size, in 10^6 bytes.
        sha256: In hex.
        problem: Why it can't be loaded, if it can't.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    megabytes: float
    sha256: str
    problem: str = ""


def available_weights(settings: Settings) -> Iterator[Weights]:
    """Yield the weights that labeling configs may name, sorted by name; each is loaded for its metadata."""
    store = WeightsStore(settings)
    for name in store.available():
        path = store.get(name)
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        metadata, problem = None, ""
        try:
            metadata = load_backend(path, "cpu", batch_size=1).metadata
        except WeightsError as error:
            problem = str(error)
        yield Weights(
            name=name,
            task=metadata.task if metadata else "",
            classes=tuple(metadata.names.values()) if metadata else (),
            megabytes=round(sum(file.stat().st_size for file in files) / 1e6, 3),
            sha256=store.digest(name),
            problem=problem,
        )


def config_for(settings: Settings, name: str, tag: str | None = None) -> str:
    """Return a labeling config for all classes of a model.

    Args:
        settings: They name the directory of the weights.
        name: Of the weights.
        tag: The control tag; None for the tag that shows best the results of the model.

    Raises:
        ConfigError: there is no such tag, or the weights are not for it.
        WeightsError: there are no such weights, or they can't be loaded.
    """
    metadata = load_backend(WeightsStore(settings).get(name), "cpu", batch_size=1).metadata
    fitting = [kind.tag for kind in CONTROLS if metadata.task in _tasks(kind)]
    tag = tag or TAGS.get(metadata.task, "Choices")
    if tag not in fitting:
        raise ConfigError(f"{name} is for {metadata.task}, which fills in {', '.join(fitting)}, not {tag}")
    classes = _labels_for(metadata.names)
    weights = f"model_path={quoteattr(name)}"
    lines = ["<View>"]
    if tag == "VideoRectangle":
        lines += _tag('Labels name="label" toName="video"', "Label", classes)
        lines.append('  <Video name="video" value="$video" frameRate="25"/>')
        lines.append(f'  <VideoRectangle name="box" toName="video" {weights}/>')
    elif tag == "TimelineLabels":
        lines += _tag(f'TimelineLabels name="label" toName="video" {weights}', "Label", classes)
        lines.append('  <Video name="video" value="$video" frameRate="25" timelineHeight="120"/>')
    else:
        lines.append('  <Image name="image" value="$image"/>')
        if tag == "KeyPointLabels":
            # The boxes of the objects come from the same weights.
            lines += _tag('RectangleLabels name="box" toName="image"', "Label", classes)
            count = metadata.keypoint_shape[0] if metadata.keypoint_shape else 0
            points = {f"Point {number + 1}": "" for number in range(count)}
            lines += _tag(f'KeyPointLabels name="point" toName="image" {weights}', "Label", points)
        elif tag in ("Choices", "Taxonomy"):
            lines += _tag(f'{tag} name="label" toName="image" {weights}', "Choice", classes)
        else:
            rotated = ' model_obb="true"' if metadata.task == "obb" and tag == "RectangleLabels" else ""
            lines += _tag(f'{tag} name="label" toName="image" {weights}{rotated}', "Label", classes)
    return "\n".join([*lines, "</View>", ""])


def _tasks(kind: type[Control]) -> tuple[str, ...]:
    """Return the YOLO tasks that a kind of control can use, in any configuration."""
    tasks = kind.yolo_tasks
    return tasks if isinstance(tasks, tuple) else ("detect", "segment", "pose", "obb")


def _labels_for(names: Mapping[int, str]) -> dict[str, str]:
    """Return a label for each class of a model, and the ``predicted_values`` that it needs to be that class, if any.

    A label is what people read: classes whose names look the same have one. A ``$`` in it is a full-width one, since Label
    Studio takes what follows for a key of the task's data.
    """
    classes: dict[str, dict[str, None]] = {}
    for name in names.values():
        label = visible(name).replace("$", "＄") or "no name"
        classes.setdefault(label, {})[_writable(name)] = None
    return {
        label: "" if all(visible(name) == label for name in same) else ", ".join(map(quote_name, same))
        for label, same in classes.items()
    }


def _writable(text: str) -> str:
    """Return what XML can hold of a text."""
    return _NOT_IN_XML.sub(lambda found: " " if found[0].isspace() else "", text)


def _tag(opening: str, child: str, labels: Mapping[str, str]) -> list[str]:
    lines = []
    for index, (label, predicted_values) in enumerate(labels.items()):
        attributes = f"value={quoteattr(label)}"
        if child == "Label":
            attributes += f' background="{COLOURS[index % len(COLOURS)]}"'
        if predicted_values:
            attributes += f" predicted_values={quoteattr(predicted_values)}"
        lines.append(f"    <{child} {attributes}/>")
    return [f"  <{opening}>", *lines, f"  </{opening.split()[0]}>"]


def explain(settings: Settings, labeling_config: str) -> Iterator[tuple[str, bool]]:
    """Yield lines that explain what each tag of a labeling config will do, each with whether it is a problem.

    Raises:
        ConfigError: it can't be read.
    """
    # No network is exported or moved to a GPU, since nothing is predicted.
    engine = Engine(settings.model_copy(update={"runtime": "pytorch", "device": "cpu"}))
    config = parse_labeling_config(labeling_config)
    plan = engine.plan(labeling_config)
    passes = {control.name: step for step in plan.passes for control in step.controls}
    controls = {control.name: control for control in plan.controls}
    filled_by: dict[str, Control] = {}
    for control in plan.controls:
        for companion in control.companion_controls:
            if _fits(engine, control, passes[control.name]):
                filled_by[companion.name] = control
            elif not companion.model_skip:
                controls[companion.name], passes[companion.name] = companion, passes[control.name]
    labels_for = {control.labels_name: control for control in plan.controls if control.labels_name}
    for control in plan.controls:
        if isinstance(control, VideoRectangle) and (labels := config.first_control("Labels", control.to_name)):
            labels_for[labels.name] = control
    for tag in config.controls:
        shown = config.objects.get(tag.to_name)
        on = f" on <{shown.tag}> {shown.source.value}" if shown else ""
        if tag.name in controls:
            yield from _control(engine, controls[tag.name], passes[tag.name], on)
        elif other := filled_by.get(tag.name) or labels_for.get(tag.name):
            yield f"{tag}{on}: filled in together with {other}", False
        else:
            yield f"{tag}{on}: left to people", False
    for problem in plan.problems:
        yield f"problem: {problem}", True


def _fits(engine: Engine, control: Control, step: InferencePass) -> bool:
    try:
        return incompatibility(control, step, engine.models.get(step.model)) is None
    except WeightsError:
        return False


def _control(engine: Engine, control: Control, step: InferencePass, on: str) -> Iterator[tuple[str, bool]]:
    try:
        model = engine.models.get(step.model)
    except WeightsError as error:
        yield f"{control}{on}: nothing, its weights can't be used", False
        yield f"problem: {control}: {error}", True
        return
    wrong = incompatibility(control, step, model)
    yield (
        f"{control}{on}: " + ("nothing" if wrong else f"filled in from {step.model}, which are for {model.task}"),
        False,
    )
    if model.task in control.yolo_tasks:
        yield from ((f"    {line}", False) for line in _labels(control, model.names))
    problems = [wrong] if wrong else control.problems_with(model.task, model.keypoint_count)
    if model.task in control.yolo_tasks:
        problems += control.class_problems(model.names)
    yield from ((f"problem: {problem}", True) for problem in dict.fromkeys(problems))


def _labels(control: Control, names: Mapping[int, str]) -> Iterator[str]:
    points = getattr(control, "points", None)
    if points is not None:
        for point in points:
            of = f" of {', '.join(point.classes)}" if point.classes else ""
            threshold = control.label_thresholds[point.place]
            yield f"{point.label.value}: point {point.model_index}{of}, from a score of {threshold:g}"
        return
    by_class = control.class_map(names)
    for label, threshold in zip(control.labels, control.label_thresholds, strict=True):
        classes = [quote_name(names[number]) for number, wanted in enumerate(by_class.labels) if wanted == label]
        if classes:
            yield f"{label.value}: {', '.join(classes)}, from a score of {threshold:g}"
        else:
            yield f"{label.value}: nothing"
