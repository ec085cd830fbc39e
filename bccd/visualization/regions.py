"""A region of interest in a picture."""

import cv2
import numpy as np

_OUTSIDE = 0.55  # opacity of the white over what does not count
_LINE = (20, 20, 20)  # RGB


def draw_region(image_rgb: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The image with what lies outside of a region in pale colours, and a line around the region.

    Args:
        image_rgb: uint8 array (H, W, 3).
        inside: bool array (H, W).

    Returns:
        another array of the same kind.
    """
    picture = np.ascontiguousarray(image_rgb).copy()
    pale = cv2.convertScaleAbs(picture, alpha=1 - _OUTSIDE, beta=255 * _OUTSIDE)
    np.copyto(picture, pale, where=~inside[..., None])
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    width = max(1, round(max(inside.shape) / 400))
    cv2.drawContours(picture, contours, -1, _LINE, width)
    return picture
