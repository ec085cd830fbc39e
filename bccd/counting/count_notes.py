"""Why the count of an image should not be trusted."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Sides of an image, relative to those of the images the detector was trained on. Windows of a large
# field of BCCD's cells, counted by ssd_lite and sparse_rcnn_lite, have 9% and 17% fewer cells per
# area at 1.25, 23% and 29% fewer at 1.5, 41% and 54% fewer at 2; at 0.75 14% and 32% more (cells
# that the border cuts count, too), at 0.5 39% and 111% more.
LARGEST, SMALLEST = 1.25, 0.7


class Limits(NamedTuple):
    """What a detector was made for.

    Attributes:
        field_size: (height, width) of the images it was trained on; empty: unknown.
        max_detections: the most that it gives for an image; None: no limit.
    """

    field_size: tuple = ()
    max_detections: int | None = None

    @classmethod
    def of(cls, predictor: Callable) -> "Limits":
        """Those that ``predictor`` states in attributes of these names."""
        return cls(*(getattr(predictor, key, cls._field_defaults[key]) for key in cls._fields))


def is_grey(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) has no colour at all, which a photograph of a stain has."""
    return bool((image[..., :2] == image[..., 1:]).all())


def count_notes(
    size: tuple[int, int],
    scores: Sequence[float],
    thresholds: dict[str, float],
    limits: Limits,
    *,
    grey: bool = False,
) -> list[str]:
    """Reasons against the count of an image.

    Args:
        size: (height, width) of the image in pixels.
        scores: of all detections, before the thresholds.
        thresholds: {class name: score}.
        limits: of the detector.
        grey: the image has no colour. Of 30 fields of BCCD made grey, ssd_lite and
            sparse_rcnn_lite find none of the white cells and platelets.

    Returns:
        empty where there is none.
    """
    notes = []
    if limits.field_size and not _is_like(size, limits.field_size):
        height, width = limits.field_size
        notes.append(
            f"{size[1]} x {size[0]} pixels, but the detector was trained on images of about "
            f"{width} x {height}: do not trust this count"
        )
    if limits.field_size and grey:
        notes.append(
            "a grey image, but the detector knows cells by the colours of their stain: do not "
            "trust this count"
        )
    most = limits.max_detections
    # Below the lowest threshold, what the limit cut off would not have counted.
    if most and len(scores) >= most and min(scores) >= min(thresholds.values()):
        notes.append(f"{most} detections are the most that the detector gives: there may be more")
    return notes


def _is_like(size, field_size):
    sides = zip(sorted(size), sorted(field_size), strict=True)
    short, long = (side / trained for side, trained in sides)
    return short >= SMALLEST and max(short, long) <= LARGEST
