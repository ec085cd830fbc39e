"""What all figures share: size, resolution, colours, saving."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from bccd.data.classes import Color, class_colors

DPI = 200
PAGE_WIDTH = 7.2  # inches, the text width of a printed page
_COLUMNS = 3


def figure_colors(
    class_names: Sequence[str], colors: Sequence[Color] | None = None
) -> dict[str, tuple[float, float, float]]:
    """{class name: RGB, 0 to 1}, as matplotlib takes them; arguments as of ``class_colors``."""
    colors = class_colors(class_names, colors)
    return {n: tuple(c / 255 for c in rgb) for n, rgb in zip(class_names, colors, strict=True)}


def new_figure(
    height: float, rows: int = 1, columns: int = 1, width: float = PAGE_WIDTH, **subplots: Any
) -> tuple[Figure, np.ndarray]:
    """An off-screen figure with axes.

    Args:
        height, width: inches.
        rows, columns: of axes.
        subplots: further arguments of ``Figure.subplots``.

    Returns:
        Figure and an array (rows, columns) of Axes, frames open at the top and right.
    """
    with rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for axis in axes.flat:
        axis.tick_params(which="both", labelsize=8)
        axis.set_axisbelow(True)
    return figure, axes


def new_panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """An off-screen figure with ``count`` panels, three in a row, each ``height`` inches high."""
    columns, rows = min(count, _COLUMNS), ceil(count / _COLUMNS)
    width = PAGE_WIDTH * columns / _COLUMNS
    figure, axes = new_figure(height * rows, rows, columns, width)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def label_axes(axis: Axes, x: str, y: str, title: str | None = None) -> None:
    """Label both axes, with units in the text, and give the panel a title."""
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)
    if title:
        axis.set_title(title, fontsize=9)


def show_image(axis: Axes, image_rgb: np.ndarray, title: str | None = None) -> None:
    """Show an RGB array without axes."""
    axis.imshow(image_rgb, interpolation="antialiased")
    axis.set_axis_off()
    if title:
        axis.set_title(title, fontsize=8)


def save_for_page(figure: Figure, path: Path, dpi: int = 125) -> Path:
    """Save a figure as a small PNG of 255 colours, for a page, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.set_dpi(dpi)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    picture.quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def save(figure: Figure, path: Path) -> Path:
    """Save a figure as PNG, in folders created where needed, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
