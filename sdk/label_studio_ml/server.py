"""The command ``label-studio-ml``: start a project from the templates, and run one for development."""

import argparse
import ast
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

from label_studio_ml import __version__

logger = logging.getLogger(__name__)

_SUFFIX = ".tmpl"
_BASE = "LabelStudioMLBase"
_UNKNOWN_SOURCE = "path/to/label-studio-ml"


class CommandError(Exception):
    """The command can't be done; the message gives the reason and the remedy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CommandError as error:
        sys.stderr.write(f"label-studio-ml: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="label-studio-ml", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, text in (("create", "start a project from the templates"), ("init", "the same as create")):
        create_command = commands.add_parser(name, help=text, description="Start a project from the templates.")
        create_command.add_argument("name", metavar="NAME", help="the directory to make")
        create_command.add_argument("--root-dir", type=Path, default=Path(), help="where to make it (default: here)")
        create_command.add_argument(
            "--script",
            metavar="FILE[:CLASS]",
            help="a Python file to take as model.py; the class is found where the file has one only",
        )
        create_command.add_argument("--force", action="store_true", help="overwrite the files of an earlier project")
        create_command.set_defaults(run=_create)

    start = commands.add_parser("start", help="run a project for development", description="Run a project here.")
    start.add_argument("name", metavar="NAME", help="the project's directory")
    start.add_argument("--root-dir", type=Path, default=Path(), help="where it is (default: here)")
    start.add_argument("--host", default="0.0.0.0", help="the address to listen on (default: %(default)s, all)")
    start.add_argument(
        "--port", "-p", type=int, default=int(os.environ.get("PORT") or 9090), help="(default: %(default)s)"
    )
    start.add_argument("--debug", action="store_true", help="log more, and start again when a file changes")
    start.add_argument(
        "--log-level", default=os.environ.get("LOG_LEVEL") or "INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]
    )
    start.add_argument("--basic-auth-user", help="(default: the environment's BASIC_AUTH_USER)")
    start.add_argument("--basic-auth-pass", help="(default: the environment's BASIC_AUTH_PASS)")
    start.set_defaults(run=_start)
    return parser


def _create(options: argparse.Namespace) -> None:
    directory = create(options.root_dir / options.name, script=options.script, force=options.force)
    sys.stdout.write(f"Made {directory}. Write your model in {directory / 'model.py'}, then run it:\n")
    sys.stdout.write(f"  label-studio-ml start {directory}\n")


def create(directory: Path, *, script: str | None = None, force: bool = False) -> Path:
    """Start a project from the templates.

    Args:
        directory: Where; made with its parents.
        script: ``FILE`` or ``FILE:Class``, to take as the model.
        force: Overwrite existing files. Files of other names stay.

    Raises:
        CommandError: The directory has files already, or the script or its class doesn't exist.
    """
    if directory.exists() and not directory.is_dir():
        raise CommandError(f"{directory} is a file; choose another name")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise CommandError(f"{directory} exists already; choose another name, or --force to overwrite its files")
    model_class, model = _model_of(script) if script else ("NewModel", None)
    values = {
        "@NAME@": directory.resolve().name,
        "@MODEL_CLASS@": model_class,
        "@SDK_REQUIREMENT@": sdk_requirement(),
        "@SDK_SOURCE@": _sdk_source() or _UNKNOWN_SOURCE,
    }
    directory.mkdir(parents=True, exist_ok=True)
    for template in sorted(resources.files("label_studio_ml.templates").iterdir(), key=lambda template: template.name):
        if not template.name.endswith(_SUFFIX):
            continue
        name = template.name.removesuffix(_SUFFIX)
        text = template.read_text(encoding="utf-8")
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        if name == "model.py" and model is not None:
            text = model
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def _model_of(script: str) -> tuple[str, str]:
    """Return the model's class and the text of the file that ``FILE[:Class]`` names, without running it."""
    file, colon, name = script.rpartition(":")
    if not colon or not name.isidentifier():
        file, name = script, ""
    try:
        text = Path(file).read_text(encoding="utf-8")
        classes = [candidate for candidate in ast.parse(text, file).body if isinstance(candidate, ast.ClassDef)]
    except (OSError, SyntaxError, ValueError) as error:
        raise CommandError(f"The script {file} can't be read: {error}") from error
    if name:
        if name not in {candidate.name for candidate in classes}:
            raise CommandError(
                f"The script {file} has no class {name}; it has {[candidate.name for candidate in classes]}"
            )
        return name, text
    models = [candidate.name for candidate in classes if any(_BASE in ast.unparse(base) for base in candidate.bases)]
    if len(models) != 1:
        found = f"several classes derived from {_BASE}: {models}" if models else f"no class derived from {_BASE}"
        raise CommandError(f"The script {file} has {found}; name the one to use as {file}:Class")
    return models[0], text


def sdk_requirement() -> str:
    """Return the line of a requirements file that installs this package.

    Installed from a repository or from an archive on a server, it is the same address, good on every machine. Installed
    from a directory, it is the name and version: the package of that name on the package index is another one as long
    as it is below 2.0, so pip needs a wheel, and the project's README says how to make it.
    """
    origin = _origin()
    url = origin.get("url", "")
    if repository := origin.get("vcs_info"):
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    elif not url.startswith(("http://", "https://")):
        return f"label-studio-ml>={__version__},<3"
    if subdirectory := origin.get("subdirectory"):
        url = f"{url}#subdirectory={subdirectory}"
    return f"label-studio-ml @ {url}"


def _sdk_source() -> str:
    """Return the source of this package's installation, as pip takes it; "" if it is unknown."""
    requirement = sdk_requirement()
    return requirement.partition(" @ ")[2] or _origin().get("url", "")


def _origin() -> dict:
    """Return pip's record of this package's source (PEP 610); empty for a package index."""
    try:
        return json.loads(metadata.distribution("label-studio-ml").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        return {}


def _start(options: argparse.Namespace) -> None:
    # Werkzeug's reloader runs the same command again, from the directory that this one changed to.
    reloaded = "WERKZEUG_RUN_MAIN" in os.environ
    directory = Path.cwd() if reloaded else (options.root_dir / options.name).resolve()
    if not (directory / "_wsgi.py").is_file():
        raise CommandError(f"{directory} has no _wsgi.py; make a project with: label-studio-ml create {options.name}")
    logging.basicConfig(
        level="DEBUG" if options.debug else options.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # A dependency of label_studio_sdk, which logs every language that it knows at level DEBUG.
    logging.getLogger("faker").setLevel(logging.INFO)
    for variable, value in (
        ("BASIC_AUTH_USER", options.basic_auth_user),
        ("BASIC_AUTH_PASS", options.basic_auth_pass),
    ):
        if value is not None:
            os.environ[variable] = value
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    try:
        app = importlib.import_module("_wsgi").app
    except ValueError as error:
        raise CommandError(str(error)) from error
    # Flask's own debugger is left out: it lets everybody who reaches the port run code.
    app.run(host=options.host, port=options.port, threaded=True, use_reloader=options.debug, use_debugger=False)


if __name__ == "__main__":
    sys.exit(main())
