"""Resizing images as Detectron2 does for testing, with Pillow alone: the same pixels."""

from collections.abc import Sequence
from math import ceil

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


def resize_part(image: np.ndarray, size: tuple[int, int], part: Sequence[int]) -> np.ndarray:
    """What ``resize`` makes of a part of an image, in memory for that part alone.

    Args:
        image: uint8 array (H, W, 3).
        size: (height, width) that the whole image would be resized to.
        part: (left, top, right, bottom), in pixels of that.

    Returns:
        uint8 array (bottom - top, right - left, 3), which may share the memory of ``image``. It
        differs from a part of the resized image by the rounding of positions, one grey value.
    """
    left, top, right, bottom = part
    if (left, top, right, bottom) == (0, 0, size[1], size[0]):
        return resize(image, size)
    if tuple(size) == image.shape[:2]:
        return image[top:bottom, left:right]
    rows, y0, y1 = _covered(image.shape[0], size[0], top, bottom)
    columns, x0, x1 = _covered(image.shape[1], size[1], left, right)
    source = Image.fromarray(np.ascontiguousarray(image[rows, columns]))
    new = (right - left, bottom - top)
    resized = source.resize(new, Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    return np.asarray(resized)


def _covered(old, new, start, stop):
    """What pixels from ``start`` to ``stop`` of a resized side cover of the side as it was.

    Returns:
        The slice that bilinear interpolation reads, and start and stop inside it.
    """
    factor = old / new
    margin = ceil(max(factor, 1.0)) + 1
    first = max(0, int(start * factor) - margin)
    last = min(old, ceil(stop * factor) + margin)
    return slice(first, last), start * factor - first, min(stop * factor, last) - first
