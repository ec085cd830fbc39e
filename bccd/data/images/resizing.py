"""Resizing images as Detectron2 does for testing, with Pillow alone: the same pixels."""

import numpy as np
from PIL import Image


def shortest_edge_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Size of an image whose shortest edge is resized, as ``T.ResizeShortestEdge`` computes it.

    Args:
        height, width: of the image, in pixels.
        min_size: of the shortest edge; 0 leaves the image as it is.
        max_size: that the longest edge must not exceed.

    Returns:
        (height, width).
    """
    if min_size == 0:
        return height, width
    short = min(height, width)
    sides = [min_size if side == short else min_size / short * side for side in (height, width)]
    if max(sides) > max_size:
        shrink = max_size / max(sides)
        sides = [side * shrink for side in sides]
    return tuple(int(side + 0.5) for side in sides)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as Detectron2's ``ResizeTransform`` does: bilinear, over all pixels that are covered.

    Args:
        image: uint8 array (H, W, 3).
        size: (height, width).

    Returns:
        uint8 array (height, width, 3), which may share the memory of ``image``.
    """
    if tuple(size) == image.shape[:2]:
        return image
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)
