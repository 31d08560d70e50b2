"""The command line: `python -m yolo_backend …`."""

from __future__ import annotations

import typer

from yolo_backend.settings import settings_page

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A Label Studio ML backend that pre-annotates with YOLO."
)


@app.callback()
def main() -> None:
    """Say what follows is a command, even while there is only one."""


@app.command()
def settings() -> None:
    """Print the page docs/settings.md, which is made from the settings themselves."""
    typer.echo(settings_page(), nl=False)
