"""Boxes and classes of Detectron2 records as arrays."""

from collections.abc import Sequence

import numpy as np


def xyxy_boxes(annotations: Sequence[dict]) -> np.ndarray:
    """Boxes (M, 4) of annotations, XYXY in pixels, float64, whatever their ``bbox_mode``."""
    from detectron2.structures import BoxMode  # recounting runs without it

    boxes = np.array([a["bbox"] for a in annotations], dtype=float).reshape(-1, 4)
    modes = np.array([a["bbox_mode"] for a in annotations], dtype=int)
    for mode in set(modes.tolist()) - {BoxMode.XYXY_ABS.value}:
        # As an array: Detectron2 converts a list by way of float32.
        chosen = modes == mode
        boxes[chosen] = BoxMode.convert(boxes[chosen], BoxMode(mode), BoxMode.XYXY_ABS)
    return boxes


def boxes_and_classes(record: dict) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (M, 4) as XYXY in pixels and classes (M,) of a Detectron2 record."""
    annotations = record.get("annotations", ())
    return xyxy_boxes(annotations), np.array([a["category_id"] for a in annotations], dtype=int)
