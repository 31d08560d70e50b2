"""The command line: `python -m yolo_backend …`."""

from __future__ import annotations

import typer

from yolo_backend.settings import settings_page

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A Label Studio ML backend that pre-annotates with YOLO."
)


@app.command()
def settings() -> None:
    """Print the page docs/settings.md, which is made from the settings themselves."""
    typer.echo(settings_page(), nl=False)


@app.command()
def doctor() -> None:
    """Look for what keeps the service from working: settings, weights, Label Studio. Exits with 1 if there is anything."""
    from yolo_backend.doctor import Verdict, examine

    verdicts = []
    for finding in examine():
        typer.echo(str(finding))
        verdicts.append(finding.verdict)
    raise typer.Exit(code=int(Verdict.BAD in verdicts))
