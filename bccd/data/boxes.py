"""The rules that every reader applies to annotated boxes."""

import logging
import math

logger = logging.getLogger(__name__)

# Rounding in other tools' exports, in pixels: less than this past the border is not worth a word.
BORDER_TOLERANCE = 0.01


class BoxCleaner:
    """Drops boxes without area, clips boxes to the image, refuses anything else that is wrong.

    A dropped box is warned about with its file and line; clipped boxes are counted and
    :meth:`summarize` logs them in one line.
    """

    def __init__(self):
        self.clipped = []

    def __call__(self, box, width, height, where):
        """Clean one box.

        Args:
            box: four numbers, x0, y0, x1, y1 in pixels.
            width, height: size of the image in pixels.
            where: file and line of the box, for messages.

        Returns:
            list of four floats, or None where the box is to be dropped.

        Raises:
            ValueError: the box is inverted, not finite, or wholly outside the image.
        """
        x0, y0, x1, y1 = box = [float(value) for value in box]
        problem = box_error(box, width, height)
        if problem:
            raise ValueError(f"{where}: {problem}. Correct or remove this box.")
        if has_no_area(box):
            logger.warning("%s: box %s has no area and is dropped", where, format_box(box))
            return None
        if passes_border(box, width, height):
            self.clipped.append(where)
        return [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]

    def summarize(self, source):
        """Log how many boxes of ``source`` were clipped, if any were."""
        if self.clipped:
            logger.warning(
                "%s: %d boxes reach past their image's border and are clipped, the first at %s",
                source,
                len(self.clipped),
                self.clipped[0],
            )


def box_error(box, width, height):
    """What makes a box (x0, y0, x1, y1) unusable as text, or None where it can be used."""
    x0, y0, x1, y1 = box
    if not all(math.isfinite(value) for value in box):
        return f"box {format_box(box)} is not finite"
    if x1 < x0 or y1 < y0:
        return f"box {format_box(box)} is inverted (expected xmin <= xmax and ymin <= ymax)"
    outside = x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0
    if outside and not has_no_area(box):
        return f"box {format_box(box)} lies outside its image of {width}x{height}"
    return None


def has_no_area(box):
    """Whether a box (x0, y0, x1, y1) has neither inside nor outside."""
    return box[0] == box[2] or box[1] == box[3]


def passes_border(box, width, height):
    """Whether a box (x0, y0, x1, y1) reaches visibly past the image border."""
    past = max(-box[0], -box[1], box[2] - width, box[3] - height)
    return past > BORDER_TOLERANCE


def format_box(box):
    """A box as short text."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
