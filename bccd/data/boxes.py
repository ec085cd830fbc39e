"""What can be wrong with an annotated box (x0, y0, x1, y1), in pixels."""

import math
from collections.abc import Sequence

# Less than this past the border, in pixels, is the rounding of an export and worth no word.
BORDER_TOLERANCE = 0.01


def box_error(box: Sequence[float], width: int, height: int) -> str | None:
    """What makes a box unusable in an image of ``width`` x ``height``, as text; None if nothing.

    A box without area and a box that reaches past the border are no errors: see
    :func:`has_no_area` and :func:`passes_border`.
    """
    x0, y0, x1, y1 = box
    if not all(math.isfinite(value) for value in box):
        return f"box {format_box(box)} is not finite"
    if x1 < x0 or y1 < y0:
        return f"box {format_box(box)} is inverted (expected xmin <= xmax and ymin <= ymax)"
    outside = x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0
    if outside and not has_no_area(box):
        return f"box {format_box(box)} lies outside its image of {width}x{height}"
    return None


def has_no_area(box: Sequence[float]) -> bool:
    """Whether the box is a point or a line."""
    return box[0] == box[2] or box[1] == box[3]


def passes_border(box: Sequence[float], width: int, height: int) -> bool:
    """Whether the box reaches visibly past the border of an image of ``width`` x ``height``."""
    return max(-box[0], -box[1], box[2] - width, box[3] - height) > BORDER_TOLERANCE


def clip(box: Sequence[float], width: int, height: int) -> list[float]:
    """The part of the box inside the image."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]


def format_box(box: Sequence[float]) -> str:
    """The box as short text."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
