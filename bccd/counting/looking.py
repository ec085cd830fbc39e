"""One look of a detector at an image that has the size that it shall see."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from bccd.counting.tiles import overlap_of
from bccd.detections import Detections

if TYPE_CHECKING:
    from bccd.counting.load import ImagePredictor

# A detector without non-maximum suppression may find one cell more than once. Two cells of a class
# overlap by less than this intersection over union.
DUPLICATE = 0.6
GROUND = (225, 225, 225)  # the colour of a smear where there is no cell
_SMALL = 0.9  # share of a field of the training, below which an image is put on such a ground


class Looking:
    """A detector's look, with no cell twice.

    A detector with a fixed number of proposals always makes as many: on a small image they crowd
    on its few cells, with high scores. So it sees a small image on an empty ground, as large as a
    field of the training.
    """

    def __init__(self, predictor: "ImagePredictor", lowest: float) -> None:
        """Take the detector, which has a magnification, and the ``lowest`` score that counts."""
        self._predictor, self._lowest = predictor, lowest
        self._side = round(predictor.magnification.field_pixels**0.5)
        self._has_fixed_number = predictor.magnification.has_fixed_number

    def __call__(self, image: np.ndarray) -> Detections:
        """What is in a uint8 array (h, w, 3), boxes in its pixels."""
        return self.look(image)[0]

    def look(self, image: np.ndarray) -> tuple[Detections, bool]:
        """What is in the image, and whether the detector gave as many as it can for an image."""
        found = self._predictor.detect_resized(self._on_ground(image))
        limit = self._predictor.detection_limit(*found.image_size)
        # Below the lowest threshold, what the limit cut off would not have counted.
        is_full = bool(limit and len(found) >= limit and found.scores.min() >= self._lowest)
        if found.image_size != image.shape[:2]:
            found = found.cropped(0, 0, image.shape[:2])
        return without_duplicates(found), is_full

    def _on_ground(self, image):
        height, width = image.shape[:2]
        if not self._has_fixed_number or height * width >= _SMALL * self._side**2:
            return image
        below, right = max(0, self._side - height), max(0, self._side - width)
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=GROUND)


def without_duplicates(found: Detections) -> Detections:
    """Non-maximum suppression within each class, at ``DUPLICATE``; most confident first."""
    found = found[np.argsort(-found.scores, kind="stable")]
    common, union = overlap_of(found.boxes[:, None], found.boxes)
    same = found.classes[:, None] == found.classes
    duplicates = np.triu(same & (common > DUPLICATE * union), k=1)
    kept = np.ones(len(found), dtype=bool)
    for index in np.flatnonzero(duplicates.any(axis=1)):
        if kept[index]:
            kept &= ~duplicates[index]
    return found[kept]
