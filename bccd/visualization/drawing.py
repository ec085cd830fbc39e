"""Boxes, labels and a legend with counts on one image, with NumPy, OpenCV and Pillow alone.

Detectron2's way to draw the same is :class:`bccd.visualization.visualizer.CellVisualizer`.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from bccd.data.classes import class_colors
from bccd.visualization.canvas import Color, check_image, draw_box, draw_label, enlarge
from bccd.visualization.labels import place_labels
from bccd.visualization.legend import draw_legend
from bccd.visualization.text import text_mask

_LONG_SIDE = 1200  # pixels; in a smaller picture labels on a 640x480 field are not readable
_CELL_DIAMETER = 100  # of red cells in a 640x480 field, in pixels
_LARGER_FIELD = 0.75  # of these: with smaller cells, a picture shows more than one such field
_LEAST_TEXT = 6.5  # pixels of a label's letters: smaller ones cannot be read, and are left out
_LINE_WIDTH = 1.4  # this and the sizes in Sizes are in pixels of a 640x480 field
_LEGEND_SHARE = 0.055  # height of the legend strip, of the picture's longer side


class Sizes(NamedTuple):
    """Sizes in a picture, in its pixels."""

    unit: float  # a pixel of a 640x480 field
    line: int
    rim: int
    text: float  # of a label
    pad: int  # around its text

    @classmethod
    def of(
        cls,
        picture: np.ndarray,
        line_width: float = _LINE_WIDTH,
        cell_diameter: float | None = None,
    ) -> "Sizes":
        """Sizes for a picture.

        Args:
            picture: (H, W, 3).
            line_width: in pixels of a 640x480 field.
            cell_diameter: of red cells, in pixels of the picture: where it shows more than one such
                field, lines and labels are as small as its cells.
        """
        unit = max(picture.shape[:2]) / 640
        if cell_diameter and cell_diameter / _CELL_DIAMETER < _LARGER_FIELD * unit:
            unit = cell_diameter / _CELL_DIAMETER
        line, rim, pad = (max(1, round(size * unit)) for size in (line_width, 0.5, 0.8))
        return cls(unit, line, rim, 8.2 * unit, pad)


def count_classes(classes: Sequence[int], class_names: Sequence[str]) -> dict:
    """Number of cells per class.

    Args:
        classes: integers in [0, K), one per cell.
        class_names: the names of the K classes.

    Returns:
        dict {class name: int}, in the order of ``class_names``.

    Raises:
        ValueError: a class has no name.
    """
    classes = np.asarray(classes, dtype=np.int64)
    if classes.size and not 0 <= classes.min() <= classes.max() < len(class_names):
        raise ValueError(
            f"Classes {classes.min()} to {classes.max()} do not fit the names {list(class_names)}"
        )
    counts = np.bincount(classes, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def draw_detections(
    image_rgb: np.ndarray,
    boxes: np.ndarray,
    classes: Sequence[int],
    scores: Sequence[float] | None = None,
    *,
    class_names: Sequence[str],
    colors: Sequence[Color] | None = None,
    title: str = "",
    labels: bool = True,
    dashed: Sequence[bool] | None = None,
    legend: bool = True,
    line_width: float = _LINE_WIDTH,
    long_side: int = _LONG_SIDE,
    cell_diameter: float | None = None,
) -> np.ndarray:
    """Draw boxes in their class colours, with a legend and the counts in a strip below the image.

    The picture is the image enlarged by a whole factor, so that text is sharp. The strip hides
    nothing of the image.

    Args:
        image_rgb: uint8 array (H, W, 3).
        boxes: (P, 4) array, corners in pixels of the image.
        classes: (P,) integers in [0, K).
        scores: (P,) in [0, 1], shown as percentages, or None.
        class_names: of the K classes.
        colors: RGB, 0-255, of the K classes; None: those of ``class_colors``.
        title: text at the right end of the strip.
        labels: write the class name (and score) at each box.
        dashed: (P,) booleans, boxes to draw with a dashed line, or None.
        legend: add the strip.
        line_width: of the boxes, in pixels of a 640x480 field; more for a picture shown small.
        long_side: the image is enlarged until its longer side has so many pixels.
        cell_diameter: of red cells, in pixels of the image, if it is known. In an image of many
            small cells, lines and labels are as small; labels that could not be read are left out.

    Returns:
        uint8 array, RGB: the image, each side times the factor, and the strip.

    Raises:
        ValueError: the image is of another kind, the lengths differ, a class has no name, or a box
            is not finite.
    """
    check_image(image_rgb)
    _check_lengths(boxes, classes, scores, dashed)
    counts, colors = count_classes(classes, class_names), class_colors(class_names, colors)
    picture, scale = _enlarged(image_rgb, long_side, legend)
    height = scale * image_rgb.shape[0]
    field = picture[:height]
    sizes = Sizes.of(field, line_width, scale * cell_diameter if cell_diameter else None)
    labels = labels and sizes.text >= _LEAST_TEXT
    draw_cells(
        field,
        scale * np.asarray(boxes, dtype=np.float64),
        [colors[k] for k in classes],
        _describe(classes, scores, class_names) if labels else None,
        dashed=dashed,
        sizes=sizes,
    )
    if legend:
        draw_legend(picture[height:], counts, colors, title, Sizes.of(field).unit)
    return picture


def _check_lengths(*given):
    """Raise ValueError where boxes, classes, scores and dashed, those that are given, differ."""
    lengths = [len(each) for each in given if each is not None]
    if len(set(lengths)) > 1:
        raise ValueError(f"Boxes, classes, scores and dashed must be equally many, not {lengths}")


def _enlarged(image_rgb, long_side, legend):
    """The image, enlarged by a whole factor, above a white strip for the legend; the factor."""
    height, width = image_rgb.shape[:2]
    scale = max(1, ceil(long_side / max(height, width)))
    height, width = scale * height, scale * width
    strip = 2 * ceil(max(height, width) * _LEGEND_SHARE / 2) if legend else 0
    picture = np.full((height + strip, width, 3), 255, np.uint8)
    enlarge(image_rgb, picture[:height])
    return picture, scale


def _describe(classes, scores, class_names):
    """The text of each label."""
    names = [class_names[k] for k in classes]
    if scores is None:
        return names
    return [f"{name} {100 * float(s):.0f}%" for name, s in zip(names, scores, strict=True)]


def draw_cells(
    picture: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[Color],
    texts: Sequence[str] | None = None,
    *,
    dashed: Sequence[bool] | None = None,
    sizes: Sizes | None = None,
) -> None:
    """Draw boxes, the large ones first, and then their labels where they keep apart.

    Args:
        picture: uint8 array (H, W, 3), changed.
        boxes: (P, 4) corners in its pixels.
        colors: P RGB colours.
        texts: of the P labels, or None for none.
        dashed: (P,) booleans, or None.
        sizes: of lines and labels; default: the usual ones in such a picture.

    Raises:
        ValueError: a box is not finite.
    """
    boxes, sizes = _clip(boxes, picture), sizes or Sizes.of(picture)
    dashed = np.zeros(len(boxes), bool) if dashed is None else dashed
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    for i in order:
        draw_box(picture, boxes[i], colors[i], sizes.line, rim=sizes.rim, dashed=dashed[i])
    if texts is None or not len(boxes):
        return
    order = order[::-1]  # small cells have the fewest places for a label: they go first
    masks = [text_mask(texts[i], sizes.text) for i in order]
    extents = np.array([mask.shape[::-1] for mask in masks]) + 2 * sizes.pad
    places = place_labels(boxes[order], extents, picture.shape[:2], gap=sizes.pad)
    for i, mask, (x, y) in zip(order, masks, places.tolist(), strict=True):
        draw_label(picture, x, y, mask, colors[i], sizes.pad)


def _clip(boxes, picture):
    """Boxes as (P, 4) floats inside the picture, the upper left corner first."""
    boxes = np.sort(np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        raise ValueError("A box to draw has a coordinate that is not finite")
    height, width = picture.shape[:2]
    return boxes.clip(0, (width, height, width, height))
