"""The magnification at which a detector knows cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bccd.data.classes import find_class
from bccd.data.images.resizing import shortest_edge_size
from bccd.detections import Detections

# Pixels of no colour around an image, as the detector sees it. Batches of a training are padded at
# the right and at the bottom, up to multiples of a stride; cells that such an edge cuts are found
# more often. With this margin all edges are alike, at any size of the image.
MARGIN = 16
# ``fields_at_once`` of a detector with a fixed number of proposals; of an exported file, whose
# number of detections does not grow with the image; and of a model in PyTorch whose number does.
# Larger tiles overlap less, and take more memory.
ONE_FIELD, EXPORTED_FIELDS, PYTORCH_FIELDS = 1.25, 2.0, 9.0


@dataclass(frozen=True)
class Magnification:
    """What a detector that was trained at one magnification needs to count at another.

    Attributes:
        red_cell: index of the class whose size tells the magnification.
        usual: diameter of red cells in the images of the training, in pixels.
        known: the same, once the images are resized for the detector.
        field_pixels: number of pixels of such a resized image.
        fields_at_once: how many of these the detector takes as one image: it gives a limited
            number of detections.
        expected: diameter of red cells in the images to count, in pixels, where it is known.
        has_fixed_number: it makes as many proposals for a small image as for a field of the
            training.
    """

    red_cell: int
    usual: float
    known: float
    field_pixels: int
    fields_at_once: float
    expected: float | None = None
    has_fixed_number: bool = False

    @property
    def likely(self) -> float:
        """The diameter of red cells that an image has, as long as it is not measured."""
        return self.expected or self.usual

    @classmethod
    def of(
        cls,
        class_names: Sequence[str],
        usual: float,
        field_size: Sequence[int],
        resize: tuple[int, int],
        fixed_size: Sequence[int],
        fields_at_once: float,
        expected: float = 0.0,
        *,
        has_fixed_number: bool = False,
    ) -> "Magnification | None":
        """That of a detector.

        Args:
            class_names: by class index.
            usual: COUNTING.RED_CELL_DIAMETER.
            field_size: INPUT.FIELD_SIZE.
            resize: INPUT.MIN_SIZE_TEST and INPUT.MAX_SIZE_TEST.
            fixed_size: INPUT.FIXED_SIZE.
            fields_at_once, has_fixed_number: see the class.
            expected: COUNTING.EXPECTED_DIAMETER.

        Returns:
            None where it is unknown: the detector has no class of red cells or no such diameter,
            or its images lose their proportions.
        """
        red_cell = find_class("RBC", class_names)
        if red_cell is None or not usual or not field_size or fixed_size:
            return None
        height, width = shortest_edge_size(*field_size, *resize)
        known = usual * (height * width / (field_size[0] * field_size[1])) ** 0.5
        return cls(
            red_cell,
            usual,
            known,
            height * width,
            fields_at_once,
            expected or None,
            has_fixed_number,
        )


def with_margin(image: np.ndarray, color: Sequence[float], least: int = 0) -> np.ndarray:
    """The image, uint8 (h, w, 3), with ``MARGIN`` around it.

    Args:
        image: to pad.
        color: of the margin: the mean that the detector subtracts, in the image's channel order.
        least: height and width of the result, which is padded further where it would have less.
    """
    height, width = image.shape[:2]
    bottom, right = (max(MARGIN, least - MARGIN - side) for side in (height, width))
    sides = MARGIN, bottom, MARGIN, right
    return cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=[round(c) for c in color])


def without_margin(found: Detections, size: tuple[int, int]) -> Detections:
    """What lies in the image of ``size`` (height, width) around which there was a margin."""
    return found.cropped(MARGIN, MARGIN, size)
