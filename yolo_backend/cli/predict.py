"""The work of the command `predict`: a whole project, or local files."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from yolo_backend.batch import drawing
from yolo_backend.batch.files import FilePredictor, json_list
from yolo_backend.batch.report import ProgressReport, summary
from yolo_backend.batch.run import Report, Run
from yolo_backend.batch.workers import LocalWorkers, Workers
from yolo_backend.cli.terminal import Exit, read_text, stderr
from yolo_backend.errors import ConfigError
from yolo_backend.http.client import shortened
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.label_studio.project import Project, Selection
from yolo_backend.settings import Settings


def predict_project(
    settings: Settings,
    number: int,
    *,
    view: int | None,
    only_unlabeled: bool,
    limit: int | None,
    shard: tuple[int, int],
    dry_run: bool,
    ray: str | None,
) -> Exit:
    """Predict the tasks of a project and post the predictions; print a summary."""
    label_studio = LabelStudio.from_settings(settings)
    if label_studio.url is None or settings.label_studio_api_key is None:
        raise typer.BadParameter("set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to say which Label Studio")
    if label_studio.credential is None:
        raise ConfigError("LABEL_STUDIO_API_KEY can't be used: copy the token alone, without spaces and quotes")
    project = Project(label_studio, number)
    workers: Workers
    if ray is None:
        workers = LocalWorkers(settings, project.labeling_config)
    else:
        from yolo_backend.batch.ray import RayWorkers

        workers = RayWorkers(ray, settings, project.labeling_config)
    selection = Selection(
        version=workers.version,
        view=view,
        only_unlabeled=only_unlabeled,
        shard=shard[0],
        shards=shard[1],
        limit=limit,
    )
    ids = project.task_ids(selection)
    part = f", part {shard[0]} of {shard[1]}" if shard[1] > 1 else ""
    title = f"Project {number} ({shortened(project.title)}){part}, model version {selection.version}"
    if dry_run:
        typer.echo(f"{title}: {len(ids)} of {project.tasks} tasks would be predicted")
        return Exit.DONE
    if not ids:
        typer.echo(f"{title}: nothing is left to predict of its {project.tasks} tasks")
        return Exit.DONE
    with ProgressReport(stderr) as progress:
        run = Run(project, workers, selection, progress)
        try:
            run.go(ids)
        finally:
            progress.__exit__(None, None, None)
            for line in summary(title, run.report):
                typer.echo(line)
    if run.report.saved and project.show(selection):
        typer.echo("The project shows predictions of this version from now on (Settings > Annotation).")
    return Exit.SOME_FAILED if run.report.failures else Exit.DONE


def predict_files(
    settings: Settings,
    paths: list[Path],
    *,
    limit: int | None,
    config: Path,
    out: Path,
    save_images: Path | None,
    root: Path | None,
    prefix: str,
) -> Exit:
    """Predict files and write them as tasks for Label Studio's import; print a summary."""
    labeling_config = read_text(config)
    predictor = FilePredictor(settings, labeling_config)
    files = predictor.find(paths)[:limit]
    root = (root or settings.local_files_document_root or Path.cwd()).resolve()
    if save_images is not None:
        drawing.refuse_overwriting(files, save_images, root)
    predictor.load()
    colours = drawing.colours(labeling_config)
    report = Report(expected=len(files))
    with json_list(out) as tasks, ProgressReport(stderr) as progress:
        progress.start(len(files))
        started = time.monotonic()
        for file in predictor.predict(files, prefix=prefix, root=root):
            name = file.path.relative_to(root)
            tasks.append(file.task)
            if file.prediction is None:
                report.failures[str(name)] = str(file.reason)
            else:
                report.saved += 1
                report.regions += len(file.prediction.regions)
                if save_images is not None and predictor.shows_images:
                    target = drawing.drawing_path(save_images, name)
                    drawing.save(predictor.picture(file.path), file.prediction.regions, colours, target)
            progress.advance()
        report.seconds = time.monotonic() - started
    for line in summary(f"{out}, with regions of {predictor.version}", report):
        typer.echo(line)
    return Exit.SOME_FAILED if report.failures else Exit.DONE
