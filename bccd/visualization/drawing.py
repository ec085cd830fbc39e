"""Boxes, labels and a legend with counts on one image, by Detectron2's Visualizer."""

import math

import numpy as np
from detectron2.utils.visualizer import Visualizer
from matplotlib.patches import Rectangle

from bccd.data.classes import CLASS_COLORS, CLASS_NAMES

COLORS = tuple(tuple(c / 255 for c in CLASS_COLORS[name]) for name in CLASS_NAMES)

_LONG_SIDE = 1200  # pixels; in a smaller picture labels on a 640x480 field are not readable
_LINE_WIDTH = 1.4
_LINE_STYLES = ("-", (0, (2.5, 2)))  # found, and missed or false
_LEGEND_SHARE = 0.055  # height of the legend strip, of the image's longer side


def count_classes(classes):
    """Number of cells per class.

    Args:
        classes: integers in [0, 3), one per cell.

    Returns:
        dict {class name: int}, in the order of ``CLASS_NAMES``.
    """
    counts = np.bincount(np.asarray(classes, dtype=np.int64), minlength=len(CLASS_NAMES))
    return dict(zip(CLASS_NAMES, counts.tolist(), strict=True))


def draw_detections(
    image_rgb,
    boxes,
    classes,
    scores=None,
    *,
    title="",
    labels=True,
    dashed=None,
    legend=True,
    line_width=_LINE_WIDTH,
    long_side=_LONG_SIDE,
):
    """Draw boxes in their class colours, with a legend and the counts in a strip below the image.

    The picture is the image enlarged by a whole factor, so that text is sharp. The strip hides
    nothing of the image.

    Args:
        image_rgb: uint8 array (H, W, 3).
        boxes: (P, 4) array, corners in pixels of the image.
        classes: (P,) integers in [0, 3).
        scores: (P,) in [0, 1], shown as percentages, or None.
        title: text at the right end of the strip.
        labels: write the class name (and score) at each box.
        dashed: (P,) booleans, boxes to draw with a dashed line, or None.
        legend: add the strip.
        line_width: of the boxes, in pixels of a 640x480 field; more for a picture shown small.
        long_side: the image is enlarged until its longer side has so many pixels.

    Returns:
        uint8 array, RGB, of size (H + strip, W) times the factor.
    """
    height, width = image_rgb.shape[:2]
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    boxes = boxes.clip(0, (width, height, width, height))
    classes = np.asarray(classes, dtype=np.int64).reshape(-1)
    strip = math.ceil(max(height, width) * _LEGEND_SHARE) if legend else 0
    canvas = np.pad(image_rgb, ((0, strip), (0, 0), (0, 0)), constant_values=255)
    scale = max(1, math.ceil(long_side / max(height, width)))
    visualizer = CellVisualizer(canvas, scale, (height, width), line_width)
    visualizer.draw_cells(boxes, classes, scores, labels, dashed)
    if legend:
        visualizer.draw_legend(count_classes(classes), title)
    return visualizer.output.get_image()


class CellVisualizer(Visualizer):
    """Detectron2's Visualizer for crowded fields: thin opaque boxes, labels that keep apart."""

    def __init__(self, image_rgb, scale, field, line_width):
        """Take an image whose top ``field`` (height, width) shows cells; the rest is the strip."""
        super().__init__(image_rgb, scale=scale)
        self.field = field
        self.line_width = line_width
        self.unit = max(field) / 640  # sizes below are in pixels of a 640x480 field
        self.points = self.unit * scale * 72 / self.output.dpi  # one such pixel, in points

    def draw_cells(self, boxes, classes, scores=None, labels=True, dashed=None):
        """Draw all boxes, the large ones first, then the labels. Arguments as draw_detections."""
        if dashed is None:
            dashed = np.zeros(len(boxes), dtype=bool)
        sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        order = np.argsort(-sizes, kind="stable")
        for i in order:
            self.draw_box(
                boxes[i], edge_color=COLORS[classes[i]], line_style=_LINE_STYLES[int(dashed[i])]
            )
        if labels:
            taken = []
            for i in order[::-1]:  # small cells have the fewest places for a label: they go first
                text = CLASS_NAMES[classes[i]]
                if scores is not None:
                    text += f" {100 * float(scores[i]):.0f}%"
                taken.append(self._draw_label(text, boxes[i], COLORS[classes[i]], taken))

    def draw_box(self, box_coord, alpha=0.95, edge_color="g", line_style="-"):
        """Draw one box (x0, y0, x1, y1) with a thin line on a black or white rim."""
        x0, y0, x1, y1 = box_coord
        rim = (_ink(edge_color), self.line_width + 1, "-")
        for color, width, style in (rim, (edge_color, self.line_width, line_style)):
            self.output.ax.add_patch(
                Rectangle(
                    (x0, y0),
                    x1 - x0,
                    y1 - y0,
                    fill=False,
                    edgecolor=color,
                    linewidth=width * self.points,
                    linestyle=style,
                    alpha=alpha if style is line_style else 0.5,
                    joinstyle="miter",
                )
            )
        return self.output

    def _draw_label(self, text, box, color, taken):
        """Write ``text`` where it covers least of the labels in ``taken``; return its extent."""
        x0, y0, x1, y1 = box
        artist = self.output.ax.text(
            x0,
            y0,
            text,
            size=8.2 * self.points,
            family="sans-serif",
            color=_ink(color),
            bbox={"facecolor": color, "alpha": 0.85, "pad": 0.8 * self.points, "lw": 0},
            verticalalignment="top",
            zorder=10,
        )
        pixels = artist.get_window_extent(self.output.canvas.get_renderer())
        pad = 1.6 * self.unit
        width = pixels.width / self.output.scale + pad  # the text's coloured ground is larger
        height = pixels.height / self.output.scale + pad
        spots = [
            (x0 + pad, y0 + pad),  # inside, top left
            (x0 + pad, y1 - height - pad),  # inside, bottom left
            (x1 - width - pad, y0 + pad),
            (x1 - width - pad, y1 - height - pad),
            (x0, y0 - height - pad),  # above
            (x0, y1 + pad),  # below
            (x1 + pad, y0),
            (x0 - width - pad, y0),
        ]
        if x1 - x0 < 1.3 * width or y1 - y0 < 3 * height:
            spots = spots[4:] + spots[:4]  # a label inside would hide a small cell
        size = np.array((width, height))
        corners = np.clip(spots, 1, np.maximum(np.array(self.field[::-1]) - size - 1, 1))
        extents = np.concatenate((corners, corners + size), axis=1)
        best = extents[_shared_areas(extents, np.reshape(taken, (-1, 4))).sum(axis=1).argmin()]
        artist.set_position(best[:2])
        return best

    def draw_legend(self, counts, title=""):
        """Write {class name: count}, their sum and a title into the strip below the field."""
        middle = (self.field[0] + self.output.height) / 2
        style = {"size": 13 * self.points, "verticalalignment": "center", "color": "black"}
        side = 12 * self.unit
        x = side
        for name, color in zip(CLASS_NAMES, COLORS, strict=True):
            self.output.ax.add_patch(
                Rectangle((x, middle - side / 2), side, side, facecolor=color, edgecolor="none")
            )
            x = self._write(x + 1.5 * side, middle, f"{name} {counts[name]}", style) + 1.6 * side
        x = self._write(x, middle, f"total {sum(counts.values())}", style) + 1.6 * side
        self._write_title(x, middle, title, style)

    def _write(self, x, y, text, style):
        """Write text and return the x coordinate of its right end."""
        artist = self.output.ax.text(x, y, text, **style)
        extent = artist.get_window_extent(self.output.canvas.get_renderer())
        return extent.x1 / self.output.scale

    def _write_title(self, start, y, title, style):
        """Write the title at the right end, shortened from the left to what is free there."""
        right = self.output.width - 8 * self.unit
        artist = self.output.ax.text(right, y, title, horizontalalignment="right", **style)
        renderer = self.output.canvas.get_renderer()
        while title and artist.get_window_extent(renderer).x0 / self.output.scale < start:
            title = title[1:]
            artist.set_text("…" + title if title else "")


def _shared_areas(a, b):
    """Areas (A, B) that boxes (A, 4) and (B, 4), as corners, have in common."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.prod((high - low).clip(0), axis=2)


def _ink(color):
    """Black or white, whichever is easier to read on an RGB colour."""
    return "black" if np.dot(color, (0.299, 0.587, 0.114)) > 0.5 else "white"
