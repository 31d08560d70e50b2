"""Image files as a real browser shows them, beside what is predicted on."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.support.shown_files import BLANK, FILES, NOT_SHOWN, ShownFile, colours_of_quarters
from yolo_backend.media.decode import decode

from .browser import ARGUMENTS, executable

# The type is left out, as by a server that doesn't know it: the browser tells it by the bytes.
_SHOW = """async (file) => {
    const bytes = Uint8Array.from(atob(file), character => character.charCodeAt(0));
    const image = new Image();
    image.style.display = "block";
    const isShown = new Promise(resolve => { image.onload = () => resolve(true); image.onerror = () => resolve(false); });
    image.src = URL.createObjectURL(new Blob([bytes]));
    if (!await isShown) return null;
    document.body.replaceChildren(image);
    await image.decode().catch(() => null);
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return [image.naturalWidth, image.naturalHeight];
}"""

Show = Callable[[bytes], "np.ndarray | None"]


@pytest.fixture(scope="module")
def show() -> Iterator[Show]:
    """Shows a file on a white page; gives its pixels, (H, W, 3) RGB, or None if the browser takes it for no picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=[*ARGUMENTS, "--force-color-profile=srgb"]
        )
        page = browser.new_page()
        page.set_content("<body style='margin: 0; background: white'></body>")
        yield lambda data: _pixels(page, data)
        browser.close()


def _pixels(page: Page, data: bytes) -> np.ndarray | None:
    size = page.evaluate(_SHOW, base64.b64encode(data).decode())
    if size is None:
        return None
    screenshot = page.screenshot(clip={"x": 0, "y": 0, "width": size[0], "height": size[1]})
    return np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shown(show: Show, file: ShownFile) -> None:
    shown = show(file.data)
    assert shown is not None
    assert shown.shape[1::-1] == file.size
    if file.is_brightened:
        assert shown.max() < 64
        return
    assert colours_of_quarters(shown) == file.quarters
    picture = decode(file.data, max_megapixels=1)
    pixels = np.asarray(Image.fromarray(picture.pixels[:, :, ::-1]).resize(file.size))
    differs = np.abs(pixels.astype(int) - shown).max(axis=2) > 32
    # A browser loses the last rows of a few damaged files that a decoder still gives, or the other way round.
    assert differs.mean() < 0.06


@pytest.mark.parametrize("name", BLANK)
def test_blank(show: Show, name: str) -> None:
    shown = show(BLANK[name])
    assert shown is None or (shown == 255).all()


@pytest.mark.parametrize("name", NOT_SHOWN)
def test_not_shown(show: Show, name: str) -> None:
    assert show(NOT_SHOWN[name]) is None
