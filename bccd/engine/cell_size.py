"""The size of red cells in a data set."""

from collections.abc import Iterable

import numpy as np


def typical_diameter(fields: Iterable[tuple[np.ndarray, int, int]], size: tuple[int, int]) -> float:
    """Median diameter of cells, in pixels of images of one size.

    Args:
        fields: of each image, the boxes (M, 4) of its cells, XYXY, and its width and height, in
            pixels. Boxes without area do not count.
        size: (height, width) of the images that the diameter is given for.

    Returns:
        the median root of the areas of the boxes, in pixels; 0 where there is none.
    """
    shares = [np.empty(0)]
    for boxes, width, height in fields:
        areas = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
        shares.append(np.sqrt(areas[areas > 0] / (height * width)))
    shares = np.concatenate(shares)
    return float(np.median(shares) * np.sqrt(np.prod(size))) if len(shares) else 0.0
