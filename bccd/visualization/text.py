"""Text as masks, drawn by Pillow in the font that comes with the project.

The font is DejaVu Sans, as in matplotlib's figures: Pillow's own has no letters beyond ASCII, and
file names have. A text is drawn once; labels repeat the same few.
"""

import unicodedata
from bisect import bisect_left
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FONT = Path(__file__).with_name("fonts") / "DejaVuSans.ttf"


@lru_cache(maxsize=8)
def _load_font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size)


def _printable(text: str) -> str:
    """Letters and their marks composed; what no font can draw replaced, such as broken UTF-8."""
    text = unicodedata.normalize("NFC", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def text_width(text: str, size: float) -> float:
    """Width of a line of text in pixels; ``size`` is that of the font, in pixels."""
    return _load_font(size).getlength(_printable(text))


@lru_cache(maxsize=512)  # 101 percentages of three classes
def text_mask(text: str, size: float) -> np.ndarray:
    """Draw a line of text.

    Args:
        text: any; a letter that the font lacks is drawn as an empty box.
        size: of the font, in pixels.

    Returns:
        read-only uint8 array (h, w), 255 where a pixel is ink. All texts of a size have the same
        height, except those with marks on capitals.
    """
    font, text = _load_font(size), _printable(text)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    _, usual_top, _, usual_bottom = font.getbbox("lp", anchor="ls")
    left, top, bottom = min(left, 0), min(top, usual_top), max(bottom, usual_bottom)
    mask = Image.new("L", (max(ceil(right - left), 1), ceil(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return np.asarray(mask)


def shorten_left(text: str, size: float, width: float) -> str:
    """The end of ``text`` that fits into ``width`` pixels, after an ellipsis if it is not all."""
    if text_width(text, size) <= width:
        return text
    cut = bisect_left(
        range(len(text)), True, key=lambda i: text_width("…" + text[i:], size) <= width
    )
    return "…" + text[cut:] if cut < len(text) else ""
