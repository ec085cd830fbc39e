"""Detecting in a field of view of any size and magnification.

The field is resized so that its red cells have the diameter that the detector knows, and cut into
tiles where it is then larger than the detector takes at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bccd.counting.scale import ScaleEstimator
from bccd.counting.tiles import detect_in_tiles, plan_tiles
from bccd.data.images.resizing import resize
from bccd.detections import Detections

# Relative to the diameter of red cells. The overlap holds the largest white cells and the context
# that the detector sees around them.
OVERLAP = 3.0


@dataclass(frozen=True)
class Scale:
    """The scale at which a field was looked at.

    Attributes:
        diameter: of its red cells, in pixels of the image.
        source: "given", "file" (the pixel size that the file states), "measured" in the image, or
            "assumed", where none of these is known.
    """

    diameter: float
    source: str


class FieldDetector:
    """Detects cells in a field of any size and magnification."""

    def __init__(
        self,
        detect: Callable[[np.ndarray], Detections],
        *,
        known: float,
        usual: float,
        red_cell: int,
        threshold: float,
        largest: int,
        diameter: float | None = None,
    ) -> None:
        """Take the detector.

        Args:
            detect, known, usual, red_cell, threshold: see :class:`ScaleEstimator`.
            largest: most pixels of an image for ``detect``.
            diameter: of the red cells in all fields, in pixels; None: estimated in each.
        """
        self._detect, self._known, self._usual = detect, known, usual
        self._largest, self._diameter = largest, diameter
        self._estimate = ScaleEstimator(
            detect, known=known, usual=usual, red_cell=red_cell, threshold=threshold
        )

    def __call__(self, image: np.ndarray, stated: float | None = None) -> tuple[Detections, Scale]:
        """Detect.

        Args:
            image: uint8 array (H, W, 3).
            stated: diameter of red cells that the pixel size in the file gives, if it has one.

        Returns:
            what was found, boxes in pixels of ``image``, and the scale at which it was.
        """
        scale = self._find_scale(image, stated)
        return self.detect_at(image, scale.diameter), scale

    def _find_scale(self, image, stated):
        for diameter, source in ((self._diameter, "given"), (stated, "file")):
            if diameter:
                return Scale(diameter, source)
        found = self._estimate(image)
        if found.cells:
            return Scale(found.diameter, "measured")
        return Scale(self._usual, "assumed")

    def detect_at(self, image: np.ndarray, diameter: float) -> Detections:
        """Detect in an image whose red cells have this diameter, in pixels."""
        height, width = image.shape[:2]
        factor = self._known / diameter
        tall, wide = (max(1, round(side * factor)) for side in (height, width))
        tiles = plan_tiles(tall, wide, self._largest, round(OVERLAP * self._known))
        found = detect_in_tiles(self._detect, resize(image, (tall, wide)), tiles)
        back = np.array([width / wide, height / tall] * 2, dtype=np.float32)
        limits = np.array([width, height] * 2, dtype=np.float32)
        boxes = (found.boxes * back).clip(0, limits)
        return Detections((height, width), boxes, found.scores, found.classes)
