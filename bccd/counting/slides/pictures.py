"""Pictures of a counted slide: where cells count, and how many lie there."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from bccd.counting.area import CountedArea
from bccd.counting.regions.region import Region
from bccd.counting.slides.slide import Slide
from bccd.counting.slides.tile_grid import TileGrid
from bccd.data.classes import Color
from bccd.visualization.canvas import draw_text
from bccd.visualization.legend import draw_legend
from bccd.visualization.png import write_png
from bccd.visualization.regions import draw_region
from bccd.visualization.text import text_mask

_LONG_SIDE = 1600  # pixels of a picture of the slide
_LEAST_WIDTH = 480  # of a picture: narrower ones have no room for a text
_HIGHEST = 99  # percentile of the density that has the brightest colour
_WHOLE = 0.5  # share of the largest area of a tile, from which its density counts for that
_PIXELS = 1e6  # to which the density refers where the size of a pixel is unknown


def small_copy(slide: Slide) -> tuple[np.ndarray, float]:
    """A slide as uint8 RGB of at most ``_LONG_SIDE`` pixels, and its size relative to the slide."""
    factor = min(1.0, _LONG_SIDE / max(slide.size))
    return np.ascontiguousarray(slide.read_reduced(factor)[..., ::-1]), factor


def write_overview(
    path: Path,
    slide_rgb: np.ndarray,
    factor: float,
    area: Region,
    counts: dict[str, int],
    colors: Sequence[Color],
    title: str,
) -> None:
    """Draw a slide with what does not count in pale colours, and the counts below.

    Args:
        path: of the PNG file.
        slide_rgb, factor: from :func:`small_copy`.
        area: in which cells count.
        counts: {class name: int}.
        colors: RGB of each class.
        title: for the strip below.
    """
    picture = draw_region(slide_rgb, area.to_mask(slide_rgb.shape[:2], factor))
    picture = _at_least(picture, _LEAST_WIDTH)
    unit = picture.shape[1] / 640
    strip = np.full((ceil(36 * unit), picture.shape[1], 3), 255, np.uint8)
    draw_legend(strip, counts, colors, title, unit)
    write_png(path, np.concatenate([picture, strip]))


def write_density(
    path: Path,
    slide_rgb: np.ndarray,
    factor: float,
    grid: TileGrid,
    counts: np.ndarray,
    class_names: Sequence[str],
    micrometres_per_pixel: float | None,
) -> None:
    """Draw a map of the density of each class: cells of each tile by the area in which they count.

    Args:
        path: of the PNG file.
        slide_rgb, factor: from :func:`small_copy`.
        grid: of the slide.
        counts: (tiles, K) cells by tile and class.
        class_names: of the K classes.
        micrometres_per_pixel: None: the density is given by pixels.
    """
    mm2, unit = CountedArea(1, micrometres_per_pixel).mm2, "mm²"
    if mm2 is None:
        mm2, unit = 1 / _PIXELS, "million pixels"
    counted = grid.areas > 0
    whole = grid.areas >= _WHOLE * grid.areas.max()
    grey = np.repeat(slide_rgb.mean(axis=2, keepdims=True), 3, axis=2)
    grey = (128 + grey / 2).astype(np.uint8)
    panels = []
    for k, name in enumerate(class_names):
        density = counts[:, k] / np.where(counted, grid.areas * mm2, np.inf)
        highest = max(float(np.percentile(density[whole], _HIGHEST)), 1e-9)
        colors = _colors(density / highest)
        panel = grey.copy()
        for index in np.flatnonzero(counted):
            left, top, right, bottom = (round(each * factor) for each in grid.core(index))
            panel[top : max(bottom, top + 1), left : max(right, left + 1)] = colors[index]
        text = f"{name}: 0 to {float(f'{highest:.3g}'):,.10g} per {unit}"
        panels.append(_with_scale(_at_least(panel, _LEAST_WIDTH), text))
    height, width = panels[0].shape[:2]
    write_png(path, np.concatenate(panels, axis=0 if width > height else 1))


def _colors(shares):
    """RGB (P, 3) of shares of the highest density (P,)."""
    values = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(values[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]


def _at_least(picture, width):
    """The picture, enlarged by a whole factor where it is narrower than ``width``."""
    times = ceil(width / picture.shape[1])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _with_scale(panel, text):
    """A panel, with the colours and what they mean in a strip below."""
    width = panel.shape[1]
    unit = width / 640
    strip = np.full((ceil(36 * unit), width, 3), 255, np.uint8)
    bar = _colors(np.linspace(0, 1, width // 4))
    top, height, left = round(12 * unit), round(12 * unit), round(8 * unit)
    strip[top : top + height, left : left + len(bar)] = bar
    mask = text_mask(text, 13 * unit)
    draw_text(strip, 2 * left + len(bar), (len(strip) - len(mask)) / 2, mask, (0, 0, 0))
    return np.concatenate([panel, strip])
