"""Cells that the border of an image cuts: which of them count."""

from typing import Literal

import numpy as np

from bccd.detections import Detections

Border = Literal["all", "half", "inside"]
BORDERS = ("all", "half", "inside")
# Relative to the diameter of red cells: a box that ends nearer to the border is of a cell that it
# cuts. Where the diameter is not known, it is taken for a fifth of the image's shorter side.
_NEAR, _USUAL_SHARE = 0.02, 0.2


def check_border(border: str) -> None:
    """Raise ValueError where ``border`` is none of ``BORDERS``."""
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; use one of {', '.join(BORDERS)}")


def keep_by_border(found: Detections, border: Border, diameter: float | None = None) -> Detections:
    """Detections that count.

    Args:
        found: of an image.
        border: "all" cells; those that lie "inside" of the image, whole; or "half": those that
            the lower and the right edge cut do not count, so that counts of neighbouring fields add
            up, and no cell is favoured for its size (the unbiased counting frame of Gundersen,
            Journal of Microscopy 111, 1977).
        diameter: of red cells in pixels; None: not known.
    """
    if border == "all":
        return found
    height, width = found.image_size
    near = _near(found.image_size, diameter)
    beyond = (found.boxes[:, 2:] >= np.array([width, height]) - near).any(axis=1)
    if border == "inside":
        beyond |= (found.boxes[:, :2] <= near).any(axis=1)
    return found[~beyond]


def cut_by_border(found: Detections, diameter: float | None = None) -> np.ndarray:
    """Whether each of the detections (P,) is of a cell that the border cuts."""
    height, width = found.image_size
    near = _near(found.image_size, diameter)
    before = (found.boxes[:, :2] <= near).any(axis=1)
    return before | (found.boxes[:, 2:] >= np.array([width, height]) - near).any(axis=1)


def _near(size, diameter):
    return _NEAR * (diameter or _USUAL_SHARE * min(size))
