"""Annotated boxes of an image that is cropped."""

from collections.abc import Sequence

import numpy as np
from detectron2.structures import BoxMode


def with_box(annotation: dict, box: np.ndarray) -> dict:
    """A copy of ``annotation`` with another box (4,), XYXY in pixels, and without other shapes."""
    kept = {k: v for k, v in annotation.items() if k not in ("segmentation", "keypoints")}
    return {**kept, "bbox": box.tolist(), "bbox_mode": BoxMode.XYXY_ABS}


def cut_annotations(
    annotations: list[dict], boxes: np.ndarray, limits: Sequence[float], min_area: float
) -> list[dict]:
    """Clip boxes to ``limits`` and drop those of which too little is left.

    Args:
        annotations (list[dict]): M of them; their own boxes are not read.
        boxes (M, 4): their boxes in the image that is cut, XYXY in pixels.
        limits (4,): the part of the image that is kept, XYXY in pixels.
        min_area (float): an annotation is dropped when less than this share of its box's area is
            left, or nothing at all.

    Returns:
        list[dict]: copies, with the part of their box inside the limits.
    """
    low, high = np.tile(limits[:2], 2), np.tile(limits[2:], 2)
    inside = boxes.clip(low, high)
    area, area_inside = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, inside))
    share = np.divide(area_inside, area, out=np.zeros(len(boxes)), where=area > 0)
    kept = (share > 0) & (share >= min_area)
    return [with_box(annotations[i], inside[i]) for i in np.flatnonzero(kept)]
