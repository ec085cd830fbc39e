"""The scale of a field: the diameter of its red cells in pixels.

A detector finds cells of about the size that it was trained on. Between half and one and a half
times that size it measures them right, and with higher scores the nearer they are; far from it
its scores fall. So the diameter that it measures in a field resized for a supposed diameter says
whether the supposition was right, and the next one is better.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bccd.data.images.resizing import resize
from bccd.detections import Detections

# A detector measures red cells right between these shares of the diameter that it knows.
_BASIN = (0.55, 1.6)
# Supposed diameters, relative to that of the fields the detector was trained on: each within the
# basin of the next, most likely first.
SUPPOSED = (1.0, 0.55, 1.8, 0.31, 3.3, 0.17, 0.1)
WINDOW = 448  # side of the windows in which cells are measured, in pixels as the detector sees them
WINDOWS = 3  # at most that many
ENOUGH_CELLS = 4  # that the median of their diameters stands for the field
GOOD_SCORE = 0.4  # mean score of red cells at the right scale; no other scale needs to be tried
LEAST_SCORE = 0.3
CLOSE = 1.12  # ratio of measured and supposed diameters from which they agree


@dataclass(frozen=True)
class Estimate:
    """A diameter of red cells as measured in a field.

    Attributes:
        diameter: in pixels of the field; 0 where no red cell was found.
        cells: number of red cells that were measured.
        score: their mean score.
        supposed: diameter for which the field was resized.
    """

    diameter: float
    cells: int
    score: float
    supposed: float

    @property
    def reliable(self) -> bool:
        """Whether enough cells were measured, confidently, at the scale that the detector knows."""
        agree = 1 / 1.3 <= self.diameter / self.supposed <= 1.3
        return self.cells >= ENOUGH_CELLS and self.score >= LEAST_SCORE and agree

    @property
    def in_basin(self) -> bool:
        """Whether the detector measures right at the scale that it was shown."""
        return _BASIN[0] <= self.diameter / self.supposed <= _BASIN[1]

    @property
    def quality(self) -> float:
        """By which estimates at several scales are compared."""
        return self.score * min(1.0, self.cells / ENOUGH_CELLS) if self.in_basin else 0.0


class ScaleEstimator:
    """Measures the diameter of red cells in a field of any magnification."""

    def __init__(
        self,
        detect: Callable[[np.ndarray], Detections],
        *,
        known: float,
        usual: float,
        red_cell: int,
        threshold: float,
    ) -> None:
        """Take the detector.

        Args:
            detect: uint8 array (h, w, 3) to what is found in it, boxes in its pixels; the image is
                not resized any more.
            known: diameter of red cells, in pixels, in the images that ``detect`` was trained on.
            usual: the same before those were resized.
            red_cell: index of the class.
            threshold: score from which a detection is a red cell.
        """
        self._detect, self._known, self._usual = detect, known, usual
        self._red_cell, self._threshold = red_cell, threshold

    def __call__(self, image: np.ndarray) -> Estimate:
        """Estimate the diameter in an image, uint8 (H, W, 3)."""
        best = None
        for share in SUPPOSED:
            found = self.measure(image, share * self._usual)
            if best is None or found.quality > best.quality:
                best = found
            if best.cells >= ENOUGH_CELLS and best.score >= GOOD_SCORE and best.in_basin:
                break
        return self._refine(image, best)

    def _refine(self, image, estimate):
        for _ in range(2):
            if not estimate.cells or _agree(estimate.diameter, estimate.supposed):
                break
            closer = self.measure(image, estimate.diameter)
            if closer.quality < 0.8 * estimate.quality:
                break
            estimate = closer
        return estimate

    def measure(self, image: np.ndarray, supposed: float) -> Estimate:
        """Measure the red cells of ``image``, resized as if their diameter were ``supposed``."""
        factor, diameters, scores = self._known / supposed, [], []
        for window in _windows(image, round(WINDOW / factor)):
            height, width = (max(1, round(side * factor)) for side in window.shape[:2])
            found = self._detect(resize(window, (height, width)))
            found = found[(found.classes == self._red_cell) & (found.scores >= self._threshold)]
            found = found[_inside(found.boxes, height, width)]
            sides = found.boxes[:, 2:] - found.boxes[:, :2]
            diameters.append(np.sqrt(sides.prod(axis=1)) / factor)
            scores.append(found.scores)
            if sum(map(len, scores)) >= 2 * ENOUGH_CELLS:
                break
        diameters, scores = np.concatenate(diameters), np.concatenate(scores)
        if not len(scores):
            return Estimate(0.0, 0, 0.0, supposed)
        return Estimate(float(np.median(diameters)), len(scores), float(scores.mean()), supposed)


def _agree(one, other):
    return 1 / CLOSE <= one / other <= CLOSE


def _inside(boxes, height, width):
    """Which boxes (P, 4) the border does not cut."""
    least, most = boxes[:, :2].min(axis=1), boxes[:, 2:] - (width, height)
    return (least > 1) & (most.max(axis=1) < -1)


def _windows(image: np.ndarray, side: int) -> Iterable[np.ndarray]:
    """At most ``WINDOWS`` parts of an image, of at most ``side`` pixels: where most is to be seen.

    Cells differ from each other and from the ground, which is even.
    """
    height, width = image.shape[:2]
    if max(height, width) <= 1.25 * side:
        yield image
        return
    tops, lefts = (_places(length, side) for length in (height, width))
    corners = [(y, x) for y in tops for x in lefts]
    parts = [image[y : y + side, x : x + side] for y, x in corners]
    step = max(1, side // 64)
    seen = [part[::step, ::step, 1].std() for part in parts]
    for index in np.argsort(seen)[::-1][:WINDOWS]:
        yield parts[index]


def _places(length, side):
    """Starts of windows of ``side`` that cover ``length`` without a gap, at most 5 of them."""
    count = min(5, -(-length // side))
    return np.linspace(0, max(0, length - side), count).astype(int).tolist()
