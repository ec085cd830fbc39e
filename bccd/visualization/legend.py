"""The strip below a picture: a coloured square and a count for each class, and a title."""

from collections.abc import Sequence

import numpy as np

from bccd.visualization.canvas import Color, blend, draw_text
from bccd.visualization.text import shorten_left, text_mask, text_width


def draw_legend(
    strip: np.ndarray, counts: dict, colors: Sequence[Color], title: str, unit: float
) -> None:
    """Write {class name: count}, their sum and a title into a strip, in smaller type if it is full.

    Args:
        strip: uint8 array (H, W, 3), changed.
        counts: {class name: int}.
        colors: RGB of each class.
        title: for the right end; what does not fit of its start is left out.
        unit: a pixel of a 640x480 field, in pixels of the strip.
    """
    texts = [f"{name} {count}" for name, count in counts.items()]
    texts.append(f"total {sum(counts.values())}")
    starts = _legend_starts(texts, unit)
    if starts[-1] > strip.shape[1]:
        unit = max(unit * strip.shape[1] / starts[-1], 0.1)  # no font is smaller than a pixel
        starts = _legend_starts(texts, unit)
    size, side = 13 * unit, 12 * unit
    for text, start in zip(texts, starts, strict=False):
        _write(strip, start, text, size)
    top = round((len(strip) - side) / 2)
    for color, start in zip(colors, starts, strict=False):
        x = round(start - 1.5 * side)
        blend(strip, (x, top, x + round(side), top + round(side)), color)
    right = strip.shape[1] - 8 * unit
    title = shorten_left(title, size, right - starts[-1])
    _write(strip, right - text_width(title, size), title, size)


def _legend_starts(texts, unit):
    """x coordinates of the texts, those but the last after a square, and of what follows."""
    size, side = 13 * unit, 12 * unit
    starts, x = [], side
    for i, text in enumerate(texts):
        starts.append(x + (1.5 * side if i < len(texts) - 1 else 0))
        x = starts[-1] + text_width(text, size) + 1.6 * side
    return [*starts, x]


def _write(strip, x, text, size):
    mask = text_mask(text, size)
    draw_text(strip, x, (len(strip) - len(mask)) / 2, mask, (0, 0, 0))
