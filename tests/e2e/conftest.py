"""One Label Studio for all tests, services with the settings that a test wants, and their logs when it fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page

from .browser import NoBrowser, executable, logged_in
from .label_studio import LabelStudio
from .processes import ServerProcess
from .service import Service

StartService = Callable[..., Service]

_SERVERS = pytest.StashKey[list[ServerProcess]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = []
    # A run that is told to stop takes its servers with it, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.name}", server.log_tail()) for server in item.config.stash[_SERVERS]]
    return report


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> list[ServerProcess]:
    """The servers whose logs are shown when a test fails; a fixture adds those that it starts."""
    return pytestconfig.stash[_SERVERS]


@pytest.fixture(scope="session")
def label_studio(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A real Label Studio, shared by all tests: each makes its own projects."""
    with LabelStudio(tmp_path_factory.mktemp("label-studio")) as running:
        pytestconfig.stash[_SERVERS].append(running.server)
        yield running


def _start(
    config: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    stack: ExitStack,
    settings: dict[str, str],
    **options: Any,
) -> Service:
    service = Service(tmp_path_factory.mktemp("service"), settings, **options)
    servers = config.stash[_SERVERS]
    servers.append(service.server)
    stack.callback(servers.remove, service.server)
    return stack.enter_context(service)


@pytest.fixture
def start_service(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """Starts a service with these settings, for one test; ``app`` is another one to run in its place."""
    with ExitStack() as stack:
        yield lambda app="_wsgi:app", **settings: _start(pytestconfig, tmp_path_factory, stack, settings, app=app)


@pytest.fixture(scope="session")
def service(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, label_studio: LabelStudio
) -> Iterator[Service]:
    """The service with the settings that most users give it: where Label Studio is and a legacy token."""
    settings = label_studio.service_settings
    with ExitStack() as stack:
        yield _start(pytestconfig, tmp_path_factory, stack, settings)


@pytest.fixture(scope="session")
def guarded_service(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for the user ``annotator`` with the password ``right``."""
    with ExitStack() as stack:
        settings = {"BASIC_AUTH_USER": "annotator", "BASIC_AUTH_PASS": "right"}
        yield _start(pytestconfig, tmp_path_factory, stack, settings)


@pytest.fixture(scope="module")
def page(label_studio: LabelStudio) -> Iterator[Page]:
    """A page of a real browser, logged in to Label Studio."""
    if os.environ.get("E2E_BROWSER") == "skip":
        pytest.skip("E2E_BROWSER=skip")
    try:
        executable()
    except NoBrowser as error:
        pytest.fail(str(error), pytrace=False)
    with logged_in(label_studio) as page:
        yield page
