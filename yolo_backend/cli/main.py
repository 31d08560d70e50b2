"""The command line: `python -m yolo_backend …`."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from yolo_backend.cli.terminal import Exit, errors_as_text, prepare, read_text
from yolo_backend.http.client import shortened
from yolo_backend.settings import PROJECT_DIR, settings_page

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # They show the values of variables, keys included.
    pretty_exceptions_enable=False,
    help="A Label Studio ML backend that pre-annotates with YOLO.",
)


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
            help="Files: the directory that addresses count from.",
            show_default="LOCAL_FILES_DOCUMENT_ROOT, or here",
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
    from yolo_backend.cli.predict import predict_files, predict_project

    with errors_as_text("Nothing is written to --out." if files else "The same command goes on from here."):
        settings = prepare()
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
            status = predict_files(
                settings, files, limit=limit, config=config, out=out, save_images=save_images, root=root, prefix=prefix
            )
            raise typer.Exit(status)
        assert project is not None
        raise typer.Exit(
            predict_project(
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


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="All of it, all classes too, as JSON.")] = False,
) -> None:
    """List the weights that a labeling config may name: what they are for, their classes, sizes and hashes."""
    from yolo_backend.cli.inspect import available_weights

    with errors_as_text():
        listed = list(available_weights(prepare()))
    if as_json:
        typer.echo(json.dumps([asdict(weights) for weights in listed], indent=1))
        return
    width = max((len(weights.name) for weights in listed), default=0)
    typer.echo(f"{'weights':{width}}  task      {'MB':>7}  sha256        classes")
    for weights in listed:
        classes = shortened(f"{len(weights.classes)}: {', '.join(weights.classes)}", 80)
        typer.echo(
            f"{weights.name:{width}}  {weights.task:8}  {weights.megabytes:7.1f}  {weights.sha256[:12]}  "
            f"{weights.problem or classes}"
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

    with errors_as_text():
        settings = prepare()
        if (model is None) == (check is None):
            raise typer.BadParameter("name either a model, or a labeling config with --check")
        if model is not None:
            typer.echo(config_for(settings, model, tag), nl=False)
            return
        assert check is not None
        # Problems are listed below, each with its tag.
        logging.disable(logging.WARNING)
        has_problems = False
        for line, is_problem in explain(settings, read_text(check)):
            typer.echo(line)
            has_problems |= is_problem
        raise typer.Exit(Exit.SOME_FAILED if has_problems else Exit.DONE)


@app.command()
def serve() -> None:
    """Start the service on the port of the setting PORT."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(PROJECT_DIR / "gunicorn.conf.py"), "_wsgi:app"]
    os.execv(command[0], command)


@app.command()
def settings() -> None:
    """Print docs/settings.md, which is generated from the settings."""
    typer.echo(settings_page(), nl=False)


@app.command()
def doctor() -> None:
    """Look for problems of the service: settings, weights, Label Studio. Exits with 1 if there are any."""
    from yolo_backend.cli.doctor import Verdict, examine

    verdicts = []
    for finding in examine():
        typer.echo(str(finding))
        verdicts.append(finding.verdict)
    raise typer.Exit(code=int(Verdict.BAD in verdicts))


def _shard(text: str) -> tuple[int, int]:
    own, _, total = text.partition("/")
    if not (own.isdecimal() and total.isdecimal() and int(own) < int(total)):
        raise typer.BadParameter(f"{text!r} is not K/N with K from 0 to N-1", param_hint="--shard")
    return int(own), int(total)
