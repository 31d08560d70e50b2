"""QR codes and barcodes as textures: the symbols come from libraries, the ink from here."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

import barcode
import cv2
import numpy as np
import segno

from .fonts import text_mask

QR_CODE = "qr_code"
BARCODE = "barcode"
LABELS = (QR_CODE, BARCODE)

Colour = tuple[float, float, float]

# How many characters a symbology takes, and which. The libraries add check digits themselves.
_DIGITS_OF = {"ean13": 12, "ean8": 7, "upca": 11, "itf": 10}
BARCODE_SYMBOLOGIES = (*_DIGITS_OF, "code128", "code39", "codabar")


@dataclass(frozen=True, kw_only=True)
class Code:
    """One symbol, not yet printed.

    ``modules`` is a boolean array (rows, columns), true where there is ink, without a quiet zone. A barcode has one row.
    ``aspect`` is the printed width divided by the printed height.
    """

    label: str
    symbology: str
    text: str
    modules: np.ndarray
    aspect: float

    @cached_property
    def quiet_modules(self) -> int:
        """Modules of empty paper that a reader needs on each side."""
        return 4 if self.label == QR_CODE else 9

    def print(self, width: int, ink: Colour, paper: Colour) -> np.ndarray:
        """The code as float32 pixels (height, width, 3), ink to the very edge, at exactly ``width`` pixels across."""
        height = max(2, round(width / self.aspect))
        rows, columns = self.modules.shape
        # Whole pixels per module first, then an area-averaging resize: thin bars turn gray instead of vanishing.
        zoom_x = max(1, -(-width // columns))
        zoom_y = max(1, -(-height // rows)) if rows > 1 else height
        sharp = np.kron(self.modules, np.ones((zoom_y, zoom_x))).astype(np.float32)
        amount = cv2.resize(sharp, (width, height), interpolation=cv2.INTER_AREA)[..., None]
        return amount * np.asarray(ink, np.float32) + (1 - amount) * np.asarray(paper, np.float32)


def draw_code(rng: np.random.Generator, *, label: str | None = None) -> Code:
    """A random code of a random symbology; ``label`` fixes its class."""
    label = label or str(rng.choice(LABELS))
    return _draw_qr(rng) if label == QR_CODE else _draw_barcode(rng)


def _draw_qr(rng: np.random.Generator) -> Code:
    text = _random_qr_text(rng)
    symbol = segno.make(text, error=str(rng.choice(list("lmqh"))), micro=False, boost_error=False)
    return Code(
        label=QR_CODE,
        symbology=f"qr version {symbol.version}",
        text=text,
        modules=np.array([list(row) for row in symbol.matrix], dtype=bool),
        aspect=1.0,
    )


def _draw_barcode(rng: np.random.Generator) -> Code:
    symbology = str(rng.choice(BARCODE_SYMBOLOGIES))
    if symbology in _DIGITS_OF:
        text = _characters(rng, string.digits, _DIGITS_OF[symbology])
    elif symbology == "codabar":
        text = f"A{_characters(rng, string.digits, int(rng.integers(5, 10)))}B"
    else:
        longest = 9 if symbology == "code39" else 15
        text = _characters(rng, string.ascii_uppercase + string.digits, int(rng.integers(4, longest)))
    symbol = barcode.get(symbology, text)
    bars = np.array([[module != "0" for module in symbol.build()[0]]])
    inked = np.flatnonzero(bars[0])
    return Code(
        label=BARCODE,
        symbology=symbology,
        text=symbol.get_fullcode(),
        modules=bars[:, inked[0] : inked[-1] + 1],
        aspect=float(rng.uniform(1.3, 3.2)),
    )


def _random_qr_text(rng: np.random.Generator) -> str:
    letters = string.ascii_lowercase + string.digits
    host = _characters(rng, string.ascii_lowercase, int(rng.integers(4, 10)))
    path = _characters(rng, letters, int(rng.integers(2, 24)))
    kind = int(rng.integers(4))
    if kind == 0:
        return f"https://{host}.example/{path}"
    if kind == 1:
        return _characters(rng, string.ascii_uppercase + string.digits, int(rng.integers(6, 20)))
    if kind == 2:
        return f"WIFI:T:WPA;S:{host};P:{path};;"
    return f"BEGIN:VCARD\nVERSION:3.0\nN:{host.title()}\nTEL:{_characters(rng, string.digits, 10)}\nEND:VCARD"


def _characters(rng: np.random.Generator, alphabet: str, count: int) -> str:
    return "".join(rng.choice(list(alphabet), size=count))


def print_with_quiet_zone(
    code: Code, width: int, *, rng: np.random.Generator, ink: Colour, paper: Colour, caption: bool
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The printed code on its own patch of paper, with the digits below it when ``caption`` is true.

    Returns the patch (height, width, 3) float32 and the ink's extent in it: left, top, right, bottom in pixels.
    """
    printed = code.print(width, ink, paper)
    height = printed.shape[0]
    module = width / code.modules.shape[1]
    quiet = max(2, round(module * code.quiet_modules * rng.uniform(0.7, 1.5)))
    quiet_y = quiet if code.label == QR_CODE else max(2, round(quiet * rng.uniform(0.3, 1.0)))
    text_height = max(6, round(height * rng.uniform(0.12, 0.2))) if caption else 0
    patch = np.empty((height + 2 * quiet_y + text_height, width + 2 * quiet, 3), np.float32)
    patch[:] = paper
    patch[quiet_y : quiet_y + height, quiet : quiet + width] = printed
    if caption:
        letters = text_mask(code.text[:26], text_height)
        fitted = min(letters.shape[1], width)
        letters = cv2.resize(letters, (max(1, fitted), text_height), interpolation=cv2.INTER_AREA)[..., None]
        top, left = quiet_y + height + max(1, text_height // 10), quiet + (width - fitted) // 2
        area = patch[top : top + text_height, left : left + fitted]
        letters = letters[: area.shape[0]]
        area[:] = letters * np.asarray(ink, np.float32) + (1 - letters) * area
    return patch, (quiet, quiet_y, quiet + width, quiet_y + height)
