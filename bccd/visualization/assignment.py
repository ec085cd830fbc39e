"""Which places of a detector learn which cell, on the field itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from bccd.data.classes import Color
from bccd.visualization.style import figure_colors, new_figure, show_image

_MARKERS = "os^DvPX*"
_WIDTH = 6.4  # inches
_LEGEND_HEIGHT = 0.9  # inches, of title and legend
_PALENESS = 0.55  # of the field behind the markers


@dataclass
class Places:
    """T pairs of a place and a cell; what ``bccd.modeling.places.LearningPlaces`` has, in NumPy.

    Attributes:
        groups: name of each group of places, and how many there are.
        group: (T,) int, the group of each pair.
        points: (T, 2) x and y, in pixels.
        cells: (T,) int, index of the cell.
        boxes: (T, 4) XYXY, what the places predict; None: not drawn.
        idle: (I, 2) x and y of places that learn no cell.
    """

    groups: Sequence[tuple[str, int]]
    group: np.ndarray
    points: np.ndarray
    cells: np.ndarray
    boxes: np.ndarray | None = None
    idle: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))


def assignment_figure(
    image_rgb: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    places: Places,
    *,
    class_names: Sequence[str],
    colors: Sequence[Color] | None = None,
    title: str = "",
) -> Figure:
    """A pale field with its cells' boxes and the places that learn them.

    A place has the colour of the cell that it learns and a line to the cell's centre. Its marker
    tells the group, such as a feature map; it is larger where several anchors learn the cell. What
    a place predicts, where it is told, is dotted. Crosses are idle places.

    Args:
        image_rgb: uint8 (H, W, 3), as the network gets it.
        boxes: (M, 4) XYXY in pixels of ``image_rgb``.
        classes: (M,) their classes.
        places: which of them each place learns.
        class_names, colors: of the K classes, see ``class_colors``.
        title: above the field.
    """
    height, width = image_rgb.shape[:2]
    figure, axes = new_figure(_WIDTH * height / width + _LEGEND_HEIGHT, width=_WIDTH)
    axis, palette = axes[0, 0], figure_colors(class_names, colors)
    grey = image_rgb.mean(axis=2, keepdims=True).repeat(3, axis=2)
    show_image(axis, (grey + _PALENESS * (255 - grey)).astype(np.uint8), title)
    axis.title.set_fontsize(10)
    of_class = [palette[class_names[k]] for k in classes]
    _draw_boxes(axis, boxes, of_class, linewidth=1.6)
    if places.boxes is not None:
        of_place = [of_class[cell] for cell in places.cells]
        _draw_boxes(axis, places.boxes, of_place, linewidth=0.8, linestyle=":")
    axis.plot(*places.idle.T, "x", color="0.45", markersize=4)
    _draw_places(axis, boxes, of_class, places)
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
    figure.legend(
        handles=[*_groups(places), *(Patch(color=palette[n], label=n) for n in class_names)],
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return figure


def _draw_boxes(axis, boxes, colors, **line):
    for (x0, y0, x1, y1), color in zip(boxes, colors, strict=True):
        size = x1 - x0, y1 - y0
        axis.add_patch(Rectangle((x0, y0), *size, fill=False, edgecolor=color, **line))


def _draw_places(axis, boxes, of_class, places):
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    rows = np.column_stack([places.group, places.cells, places.points]).astype(float)
    for (group, cell, x, y), count in zip(
        *np.unique(rows, axis=0, return_counts=True), strict=True
    ):
        color, centre = of_class[int(cell)], centres[int(cell)]
        axis.plot([x, centre[0]], [y, centre[1]], color=color, linewidth=0.7, alpha=0.6)
        axis.plot(
            *(x, y, _MARKERS[int(group) % len(_MARKERS)]),
            color=color,
            markersize=3.2 + 1.3 * np.sqrt(count),
            markeredgecolor="white",
            markeredgewidth=0.6,
        )


def _groups(places):
    """Entries of the legend: what is seen of each group."""
    handles = []
    for number, (name, total) in enumerate(places.groups):
        chosen = int((places.group == number).sum())
        handles.append(
            Line2D(
                *([], []),
                linestyle="",
                marker=_MARKERS[number % len(_MARKERS)],
                color="0.35",
                label=f"{name}: {chosen} of {total:,}",
            )
        )
    if len(places.idle):
        cross = Line2D([], [], linestyle="", marker="x", color="0.45", label="of no cell")
        handles.append(cross)
    return handles
