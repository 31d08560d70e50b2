"""The command line: `python -m yolo_backend …`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from yolo_backend.errors import BackendError, ConfigError, LabelStudioError, WorkersLostError
from yolo_backend.http.client import shortened
from yolo_backend.observability.logging import configure_logging, formatter
from yolo_backend.serving.startup import log_doubts
from yolo_backend.settings import PROJECT_DIR, Settings, load_settings, settings_page

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # They show what variables hold, and keys are among it.
    pretty_exceptions_enable=False,
    help="A Label Studio ML backend that pre-annotates with YOLO.",
)
stderr = Console(stderr=True)


class Exit(IntEnum):
    """What the exit status says."""

    DONE = 0
    SOME_FAILED = 1
    NOT_STARTED = 2
    GAVE_UP = 3
    INTERRUPTED = 130


@app.command()
def predict(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Images, videos, or directories of them.", show_default=False)
    ] = None,
    project: Annotated[
        int | None, typer.Option(help="Pre-annotate this project of the Label Studio at LABEL_STUDIO_URL.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Files: their labeling config, XML.")] = None,
    out: Annotated[Path | None, typer.Option(help="Files: where to write tasks for Label Studio's import.")] = None,
    save_images: Annotated[
        Path | None, typer.Option(help="Files: a directory for pictures with the regions drawn.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Files: the directory that addresses count from.", show_default="LOCAL_FILES_DOCUMENT_ROOT, or here"
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Files: the address under which Label Studio opens that directory.")
    ] = "/data/local-files/?d=",
    view: Annotated[
        int | None, typer.Option("--filter", help="Only tasks that a view of the Data Manager shows: its id.")
    ] = None,
    only_unlabeled: Annotated[bool, typer.Option("--only-unlabeled", help="Only tasks without an annotation.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many tasks.")] = None,
    shard: Annotated[
        str, typer.Option(metavar="K/N", help="One of N equal parts of the project, K from 0 to N-1.")
    ] = "0/1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on this Ray cluster, such as auto or ray://host:10001."),
    ] = None,
) -> None:
    """Pre-annotate a whole project, or local files.

    With --project it can be stopped and started again at will: tasks with a prediction of this version are left alone.
    """
    with _told_in_words("Nothing is written to --out." if files else "The same command goes on from here."):
        settings = _start()
        if (project is None) == (not files):
            raise typer.BadParameter("name either a project with --project, or files with --config and --out")
        for_files = {"--config": config, "--out": out, "--save-images": save_images, "--root": root}
        for_projects = {
            "--filter": view,
            "--only-unlabeled": only_unlabeled,
            "--shard": shard != "0/1",
            "--dry-run": dry_run,
            "--ray": ray,
        }
        for option, value in (for_projects if files else for_files).items():
            if value:
                raise typer.BadParameter(f"{option} is for {'--project' if files else 'files'}")
        if files:
            if config is None or out is None:
                raise typer.BadParameter("files need --config F.xml and --out tasks.json")
            status = _predict_files(
                settings, files, limit=limit, config=config, out=out, save_images=save_images, root=root, prefix=prefix
            )
            raise typer.Exit(status)
        assert project is not None
        raise typer.Exit(
            _predict_project(
                settings,
                project,
                view=view,
                only_unlabeled=only_unlabeled,
                limit=limit,
                shard=_shard(shard),
                dry_run=dry_run,
                ray=ray,
            )
        )


def _predict_project(
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
    from yolo_backend.batch.report import ProgressReport, summary
    from yolo_backend.batch.run import Run
    from yolo_backend.batch.workers import LocalWorkers, Workers
    from yolo_backend.label_studio.client import LabelStudio
    from yolo_backend.label_studio.project import Project, Selection

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


def _predict_files(
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
    from yolo_backend.batch import drawing
    from yolo_backend.batch.files import Files, json_list
    from yolo_backend.batch.report import ProgressReport, summary
    from yolo_backend.batch.run import Report

    labeling_config = _text(config)
    files = Files(settings, labeling_config)
    found = files.find(paths)[:limit]
    root = (root or settings.local_files_document_root or Path.cwd()).resolve()
    if save_images is not None:
        drawing.spare(found, save_images, root)
    files.load()
    colours = drawing.colours(labeling_config)
    report = Report(expected=len(found))
    with json_list(out) as tasks, ProgressReport(stderr) as progress:
        progress.expect(len(found))
        started = time.monotonic()
        for done in files.predict(found, prefix=prefix, root=root):
            name = done.path.relative_to(root)
            tasks.append(done.task)
            if done.prediction is None:
                report.failures[str(name)] = str(done.reason)
            else:
                report.saved += 1
                report.regions += len(done.prediction.regions)
                if save_images is not None and files.shows_images:
                    target = drawing.saved_as(save_images, name)
                    drawing.save(files.picture(done.path), done.prediction.regions, colours, target)
            progress.done()
        report.seconds = time.monotonic() - started
    for line in summary(f"{out}, with regions of {files.version}", report):
        typer.echo(line)
    return Exit.SOME_FAILED if report.failures else Exit.DONE


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="All of it, all classes too, as JSON.")] = False,
) -> None:
    """List the weights that a labeling config may name: what they are for, their classes, sizes and hashes."""
    from yolo_backend.cli.inspect import available_weights

    with _told_in_words():
        found = list(available_weights(_start()))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    width = max((len(one.name) for one in found), default=0)
    typer.echo(f"{'weights':{width}}  task      {'MB':>7}  sha256        classes")
    for one in found:
        classes = shortened(f"{len(one.classes)}: {', '.join(one.classes)}", 80)
        typer.echo(
            f"{one.name:{width}}  {one.task:8}  {one.megabytes:7.1f}  {one.sha256[:12]}  {one.problem or classes}"
        )


@app.command(name="config")
def write_or_check_config(
    model: Annotated[str | None, typer.Argument(help="Weights, such as demo-detect.pt.", show_default=False)] = None,
    tag: Annotated[
        str | None, typer.Option(help="The control tag.", show_default="what shows best what they find")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="F.xml", help="Explain what each tag of this labeling config will do.")
    ] = None,
) -> None:
    """Write a labeling config for the classes of a model, or check one. Exits with 1 if something in it can't be used."""
    from yolo_backend.cli.inspect import config_for, explain

    with _told_in_words():
        settings = _start()
        if (model is None) == (check is None):
            raise typer.BadParameter("name either a model, or a labeling config with --check")
        if model is not None:
            typer.echo(config_for(settings, model, tag), nl=False)
            return
        assert check is not None
        # They are told below, in their place.
        logging.disable(logging.WARNING)
        wrong = False
        for line, is_problem in explain(settings, _text(check)):
            typer.echo(line)
            wrong |= is_problem
        raise typer.Exit(Exit.SOME_FAILED if wrong else Exit.DONE)


@app.command()
def serve() -> None:
    """Start the service on the port of the setting PORT."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(PROJECT_DIR / "gunicorn.conf.py"), "_wsgi:app"]
    os.execv(command[0], command)


@app.command()
def settings() -> None:
    """Print the page docs/settings.md, which is made from the settings themselves."""
    typer.echo(settings_page(), nl=False)


@app.command()
def doctor() -> None:
    """Look for what keeps the service from working: settings, weights, Label Studio. Exits with 1 if there is anything."""
    from yolo_backend.cli.doctor import Verdict, examine

    verdicts = []
    for finding in examine():
        typer.echo(str(finding))
        verdicts.append(finding.verdict)
    raise typer.Exit(code=int(Verdict.BAD in verdicts))


def _start() -> Settings:
    """Read the settings, and log what a person must know; more, if LOG_LEVEL says so."""
    settings = load_settings()
    quiet = {} if "log_level" in settings.model_fields_set else {"log_level": "WARNING"}
    configure_logging(settings.model_copy(update=quiet))
    if stderr.is_terminal:
        # Above the progress bar, not through it.
        handler = RichHandler(console=stderr, show_time=False, show_level=False, show_path=False)
        handler.setFormatter(formatter(settings))
        logging.getLogger().handlers = [handler]
    log_doubts(settings)
    # As Ctrl-C: what is computed is still posted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return settings


@contextmanager
def _told_in_words(when_stopped: str = "") -> Iterator[None]:
    """Turn errors into a line on standard error and an exit status."""
    try:
        yield
    except (LabelStudioError, WorkersLostError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.GAVE_UP) from None
    except BackendError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.NOT_STARTED) from None
    except KeyboardInterrupt:
        typer.echo(f"Stopped. {when_stopped}".strip(), err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None


def _shard(text: str) -> tuple[int, int]:
    own, _, all_of_them = text.partition("/")
    if not (own.isdecimal() and all_of_them.isdecimal() and int(own) < int(all_of_them)):
        raise typer.BadParameter(f"{text!r} is not K/N with K from 0 to N-1", param_hint="--shard")
    return int(own), int(all_of_them)
