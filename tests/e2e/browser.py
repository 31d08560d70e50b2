"""Label Studio's pages in a real, headless browser."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from .label_studio import LabelStudio
from .truth import Box

VIEWPORT = (1280, 800)

# Milliseconds for what takes one or two seconds on an idle machine, and much longer on one that trains a model.
PATIENCE = 120_000
BEFORE_RELOAD = 15_000

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# A test machine may have no network, and what the browser does for itself is no part of the test.
ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")

_LOADED = "() => window.Konva?.stages.length && [...document.images].every(image => image.complete)"
# The rectangles that are drawn on the canvas: stroke and place on the screen.
_RECTANGLES = """() => Konva.stages.flatMap(stage => {
    const origin = stage.container().getBoundingClientRect();
    return stage.find(node => node.getClassName() === "Rect" && node.isVisible() && / _transformable$/.test(node.name()))
        .map(node => {
            const {x, y} = node.getAbsolutePosition(), scale = node.getAbsoluteScale();
            return {stroke: node.stroke(), x: origin.x + x, y: origin.y + y,
                    width: node.width() * scale.x, height: node.height() * scale.y};
        });
})"""
# The picture that is being labelled is the largest one on the page.
PICTURE = """() => [...document.images].map(image => [image, image.getBoundingClientRect()])
    .map(([image, {x, y, width, height}]) => ({x, y, width, height, scale: width / image.naturalWidth}))
    .reduce((largest, one) => one.width * one.height > largest.width * largest.height ? one : largest)"""

# Choosing a tab draws everything anew, the picture after the regions, and both move while the page is laid out. Until
# the picture is there, the largest image is the task's thumbnail in the list.
_AT_REST = f"""() => {{
    const picture = ({PICTURE})(), now = JSON.stringify([picture, ({_RECTANGLES})()]);
    const before = window.lastSeenByTests;
    window.lastSeenByTests = now;
    return Math.max(picture.width, picture.height) > 100 && now === before;
}}"""


class NoBrowser(RuntimeError):
    """There is no browser on this machine; the message says how to get one."""


def executable() -> str:
    """The browser to use: what CHROMIUM names, else the first of the usual names on the PATH.

    Raises NoBrowser when there is none.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NoBrowser(
            f"none of {', '.join(_NAMES)} is on the PATH: install one (`apt-get install chromium`), "
            "name it in CHROMIUM, or set E2E_BROWSER=skip to leave these tests out"
        )
    return found


@contextmanager
def logged_in(label_studio: LabelStudio) -> Iterator[Page]:
    """A browser whose user has logged in to Label Studio by its form."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=[*ARGUMENTS])
        width, height = VIEWPORT
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", label_studio.username)
        page.fill("input[name=password]", label_studio.password)
        page.click("button[type=submit]")
        page.wait_for_url(f"{label_studio.url}/")
        yield page
        browser.close()


class Editor:
    """The page on which a task is labelled. ``colors`` are those of the labels, as ``#rrggbb``."""

    def __init__(self, page: Page, label_studio: LabelStudio, colors: Mapping[str, str]) -> None:
        self.page = page
        self._url = label_studio.url
        self._label_of = {_rgb(color): label for label, color in colors.items()}

    def open(self, project: int, task: int, *, regions: int | None = None, stream: bool = False) -> None:
        """Open a task and wait until this many regions are drawn, or any where it isn't said how many.

        ``stream`` leaves out the list of tasks, as when all tasks are labelled one after the other.
        """
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}" + ("&labeling=1" if stream else ""))
        self.page.wait_for_function(_LOADED)
        try:
            self.wait_for_regions(regions, timeout=BEFORE_RELOAD)
        except PlaywrightTimeout:
            # Opened right after another project's page, a task sometimes shows before its predictions have come.
            self.page.reload()
            self.wait_for_regions(regions)

    def wait_for_regions(self, count: int | None, *, timeout: float = PATIENCE) -> None:
        """Wait until this many regions are drawn, or any, on a picture that has come to rest.

        Raises playwright's TimeoutError after ``timeout`` milliseconds.
        """
        enough = "> 0" if count is None else f"=== {count}"
        self.page.wait_for_function(f"({_RECTANGLES})().length {enough}", timeout=timeout)
        self.page.wait_for_function(_AT_REST, polling=250, timeout=timeout)

    def show_prediction(self, prediction: int, *, regions: int) -> None:
        """Choose the tab of the prediction with this id, and wait until this many regions are drawn."""
        self.page.click(f'[data-annotation-id="{prediction}"]')
        # Away from the tab, or its tooltip covers the picture.
        self.page.mouse.move(*(side - 1 for side in VIEWPORT))
        self.page.wait_for_function("() => Htx.annotationStore.selected.type === 'prediction'")
        self.wait_for_regions(regions)

    def show_labels(self) -> None:
        """Settings of the editor > Show labels inside the regions."""
        self.page.evaluate("Htx.settings.showLabels || Htx.settings.toggleShowLabels()")

    def submit(self) -> None:
        """Press Submit, and wait until the annotation is saved."""
        with self.page.expect_response(re.compile(r"/api/tasks/\d+/annotations")) as saved:
            self.page.get_by_role("button", name="Submit").click()
        assert saved.value.ok

    def drawn_boxes(self) -> list[Box]:
        """The boxes that are drawn over the picture, in pixels of the image."""
        picture = self.page.evaluate(PICTURE)
        scale = picture["scale"]
        return [
            Box(
                self._label_of[_rgb(drawn["stroke"])],
                (drawn["x"] - picture["x"]) / scale,
                (drawn["y"] - picture["y"]) / scale,
                drawn["width"] / scale,
                drawn["height"] / scale,
            )
            for drawn in self.page.evaluate(_RECTANGLES)
        ]

    def outlines_on_screen(self) -> list[float]:
        """For each drawn box, how much of its outline is seen in its label's colour, from 0 to 1."""
        pixels = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return [_outline_in_color(pixels, drawn) for drawn in self.page.evaluate(_RECTANGLES)]

    def listed_labels(self) -> list[str]:
        """The labels in the list of regions, from top to bottom."""
        return self.page.evaluate("() => Htx.annotationStore.selected.regions.map(region => region.labels.join())")


def _outline_in_color(pixels: Image.Image, drawn: Mapping[str, Any]) -> float:
    """How much of a rectangle's outline has its colour; a line one pixel wide may be spread over two."""
    color = _rgb(drawn["stroke"])
    left, top = drawn["x"], drawn["y"]
    right, bottom = left + drawn["width"], top + drawn["height"]
    across = [left + (right - left) * step / 50 for step in range(1, 50)]
    down = [top + (bottom - top) * step / 50 for step in range(1, 50)]
    outline = [(x, y) for y in (top, bottom) for x in across] + [(x, y) for x in (left, right) for y in down]

    def seen(x: float, y: float) -> bool:
        around = ((round(x) + dx, round(y) + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
        return any(_distance(pixels.getpixel(place), color) < 120 for place in around if _inside(place, pixels))

    return sum(seen(x, y) for x, y in outline) / len(outline)


def _inside(place: tuple[int, int], pixels: Image.Image) -> bool:
    return 0 <= place[0] < pixels.width and 0 <= place[1] < pixels.height


def _distance(one: Any, other: tuple[int, ...]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


def _rgb(color: str) -> tuple[int, ...]:
    """``#rrggbb``, ``rgb(r,g,b)`` or ``rgba(r,g,b,a)`` as three numbers from 0 to 255."""
    if color.startswith("#"):
        return tuple(bytes.fromhex(color[1:]))
    return tuple(int(number) for number in re.findall(r"[\d.]+", color)[:3])
