"""Typeset text from the font that Pillow brings along, so that every machine draws the same letters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WORDS = (
    "the of to and a in is it you that he was for on are with as I his they be at one have this from or had by hot but "
    "some what there we can out other were all your when up use word how said an each she which do their time if will "
    "way about many then them would write like so these her long make thing see him two has look more day could go come "
    "did my sound no most number who over know water than call first people may down side been now find Batch Lot Price "
    "Net Made Store Keep dry Best before Qty Order Total Invoice Ship Fragile Open here Size Model Serial Date 100% "
    "250 g 1.99 12:30 3/4 No. 7 EUR SALE NEW kg ml"
).split()


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_mask(text: str, height: int) -> np.ndarray:
    """``text`` on one line as float32 coverage in 0..1, (height, any width)."""
    font = _font(max(5, round(height * 0.8)))
    width = max(1, round(font.getlength(text)))
    line = Image.new("L", (width, max(1, height)))
    ImageDraw.Draw(line).text((0, height / 2), text, fill=255, font=font, anchor="lm")
    return np.asarray(line, np.float32) / 255


def random_words(rng: np.random.Generator, count: int) -> str:
    """``count`` words with a space between them."""
    return " ".join(str(word) for word in rng.choice(_WORDS, size=count))
