"""The scale of a field: the diameter of its red cells in pixels.

A detector finds cells of about the size that it was trained on. Between half and one and a half
times that size it measures them right, and its scores are the higher the nearer they are; farther
away it finds few. So the diameter that it measures in a field, resized for a supposed diameter,
says whether the supposition was right, and the next one is better.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bccd.data.images.resizing import resize
from bccd.detections import Detections
from bccd.export.magnification import Magnification

# The detector measures red cells right between these shares of the diameter that it knows.
_LEAST, _MOST = 0.55, 1.6
# Supposed diameters, relative to the likely one, most likely first. Each lies in the range of the
# next larger and smaller one.
SUPPOSED = (1.0, 0.55, 1.8, 0.31, 3.3, 0.17, 0.1)
# Side of the windows in which cells are measured, relative to a square as large as a field of the
# training: 448 pixels for the shipped models.
WINDOW = 1.212
WINDOWS = 3  # at most that many
ENOUGH_CELLS = 4  # whose median stands for the field
GOOD_SCORE = 0.4  # mean score of red cells at the right scale: no other needs to be tried
LEAST_SCORE = 0.3  # mean score from which an estimate is reliable
CLOSE = 1.12  # ratio of measured and supposed diameters from which they agree
NEAR = 1.3  # the same for an estimate that is reliable


@dataclass(frozen=True)
class Estimate:
    """A diameter of red cells as measured in a field.

    Attributes:
        diameter: median, in pixels of the field; 0 where no red cell was found.
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
        enough = self.cells >= ENOUGH_CELLS and self.score >= LEAST_SCORE
        return enough and ratio(self.diameter, self.supposed) <= NEAR

    @property
    def close(self) -> bool:
        """Whether the field was resized for the diameter that was measured."""
        return self.cells > 0 and ratio(self.diameter, self.supposed) <= CLOSE

    @property
    def quality(self) -> float:
        """By which estimates at several scales are compared, from 0 to 1."""
        if not _LEAST <= self.diameter / self.supposed <= _MOST:
            return 0.0
        return self.score * min(1.0, self.cells / ENOUGH_CELLS)


class ScaleEstimator:
    """Measures the diameter of red cells in a field of any magnification.

    Attributes:
        window: side of the parts of a field that it looks at, in pixels as the detector sees them.
    """

    def __init__(
        self,
        detect: Callable[[np.ndarray], Detections],
        magnification: Magnification,
        threshold: float,
    ) -> None:
        """Take the detector.

        Args:
            detect: uint8 array (h, w, 3) to what is found in it, boxes in its pixels; the image is
                not resized any more.
            magnification: at which ``detect`` knows cells.
            threshold: score from which a detection is a red cell.
        """
        self.window = round(WINDOW * magnification.field_pixels**0.5)
        self._detect, self._known = detect, magnification.known
        self._likely, self._red_cell = magnification.likely, magnification.red_cell
        self._threshold = threshold

    def __call__(self, image: np.ndarray, first: Estimate | None = None) -> Estimate:
        """Estimate the diameter in an image.

        Args:
            image: uint8 array (H, W, 3).
            first: of the likely scale, where it is known already.
        """
        best = first or self.measure(image, self._likely)
        for share in SUPPOSED[1:]:
            if best.quality >= GOOD_SCORE:
                break
            found = self.measure(image, share * self._likely)
            best = max(best, found, key=lambda estimate: estimate.quality)
        return self._refine(image, best)

    def _refine(self, image, estimate):
        for _ in range(2):
            if not estimate.cells or estimate.close:
                break
            closer = self.measure(image, estimate.diameter)
            if closer.quality < 0.8 * estimate.quality:
                break
            estimate = closer
        return estimate

    def measure(self, image: np.ndarray, supposed: float) -> Estimate:
        """Measure the red cells of ``image``, resized as if their diameter were ``supposed``."""
        factor, found = self._known / supposed, []
        for window in _windows(image, max(1, round(self.window / factor))):
            size = tuple(max(1, round(side * factor)) for side in window.shape[:2])
            found.append(self._detect(resize(window, size)))
            if sum(len(self._whole_cells(each)) for each in found) >= 2 * ENOUGH_CELLS:
                break
        return self.estimate(found, supposed)

    def estimate(self, found: list[Detections], supposed: float) -> Estimate:
        """What windows of a field say that was resized as if the diameter were ``supposed``."""
        cells = [self._whole_cells(each) for each in found]
        boxes = np.concatenate([each.boxes for each in cells])
        scores = np.concatenate([each.scores for each in cells])
        if not len(scores):
            return Estimate(0.0, 0, 0.0, supposed)
        diameters = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) * supposed / self._known
        return Estimate(float(np.median(diameters)), len(scores), float(scores.mean()), supposed)

    def _whole_cells(self, found):
        """Red cells that the border of the window does not cut."""
        height, width = found.image_size
        inside = (found.boxes[:, :2] > 1).all(axis=1)
        inside &= (found.boxes[:, 2:] < (width - 1, height - 1)).all(axis=1)
        is_cell = (found.classes == self._red_cell) & (found.scores >= self._threshold)
        return found[is_cell & inside]


def ratio(one: float, other: float) -> float:
    """How many times the larger of two diameters is the other; infinite where one is 0."""
    return max(one / other, other / one) if one and other else np.inf


def _windows(image: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """At most ``WINDOWS`` parts of an image, of at most ``side`` pixels: where most is to be seen.

    Cells differ from each other and from the ground, which is even.
    """
    height, width = image.shape[:2]
    if max(height, width) <= 1.25 * side:
        yield image
        return
    tops, lefts = (_starts(length, side) for length in (height, width))
    parts = [image[y : y + side, x : x + side] for y in tops for x in lefts]
    step = max(1, side // 64)
    contrast = [part[::step, ::step, 1].std() for part in parts]
    for index in np.argsort(contrast, kind="stable")[::-1][:WINDOWS]:
        yield parts[index]


def _starts(length, side):
    """Where windows of ``side`` start that are spread over ``length``, at most 5 of them."""
    count = min(5, -(-length // side))
    return np.linspace(0, max(0, length - side), count).astype(int).tolist()
