"""Finding pictures that show the same field of view twice."""

import numpy as np
from PIL import Image

# Bits in which two difference hashes may differ. Within BCCD the one such pair
# (BloodImage_00037 and 00038) differs in 3 of 64 bits, the next closest pair in 10.
MAX_DIFFERENT_BITS = 6
_SIDE = 8


def difference_hash(path):
    """Whether each cell of an 8x8 grid of grey levels is brighter than its left neighbour.

    Args:
        path: image file; all of it is decoded.

    Returns:
        bool array of shape (64,)

    Raises:
        OSError: the file is no image, or is cut off.
    """
    with Image.open(path) as image:
        image.draft("L", (160, 120))  # a JPEG is decoded at this size, which is much faster
        small = image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, dtype=np.int16)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def near_duplicates(hashes):
    """Pairs of near-duplicate images.

    Args:
        hashes: bool array of shape (N, 64), one :func:`difference_hash` an image.

    Returns:
        list of (i, j), i < j.
    """
    bits = np.asarray(hashes, dtype=np.float32).reshape(-1, _SIDE * _SIDE)
    same = bits @ bits.T + (1 - bits) @ (1 - bits).T
    close = np.triu(bits.shape[1] - same <= MAX_DIFFERENT_BITS, k=1)
    return [(int(i), int(j)) for i, j in np.argwhere(close)]
