"""Detecting in a field of view of any size and magnification.

The field is resized so that its red cells have the diameter that the detector knows, and cut into
tiles where it is then larger than the detector takes at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bccd.counting.image_errors import ImageError
from bccd.counting.looking import Looking
from bccd.counting.scale import CLOSE, NEAR, Estimate, ScaleEstimator, ratio
from bccd.counting.tiles import Tile, detect_in_tiles, plan_tiles
from bccd.data.images.resizing import resize, resize_part
from bccd.detections import Detections

if TYPE_CHECKING:
    from bccd.counting.load import ImagePredictor

# Of neighbouring tiles, relative to the diameter of red cells: more than the largest white cells.
OVERLAP = 2.5
LEAST_SIDE = 0.1  # of the image, relative to the diameter of red cells; less shows no cell
# Diameters that can be stated lie within this factor of the usual one: a field that is magnified
# more takes hours, and shows nothing.
FARTHEST = 12.0
GIVEN, FILE = "given", "file"
MEASURED, UNCERTAIN, ASSUMED = "measured", "uncertain", "assumed"
RED_CELL_MICROMETRES = 7.5  # diameter of a red cell of a human in a smear


class Scale(NamedTuple):
    """The scale at which a field was looked at.

    Attributes:
        diameter: of its red cells, in pixels of the image.
        source: "given" by the user; "file", of the size of a pixel that the file states; "measured"
            in the image; "uncertain" where few red cells could be measured; "assumed" where there
            is none: that of the detector's training, or of the laboratory that it was calibrated
            for, which is also assumed where few could be measured.
    """

    diameter: float
    source: str


def agree(scale: Scale, micrometres_per_pixel: float) -> bool:
    """Whether red cells of a scale are about as large as the size of a pixel says."""
    return ratio(scale.diameter, RED_CELL_MICROMETRES / micrometres_per_pixel) <= NEAR


def _diameter_of(micrometres_per_pixel):
    return RED_CELL_MICROMETRES / micrometres_per_pixel if micrometres_per_pixel else None


class HasShape(Protocol):
    """An image, or a slide that is read in parts."""

    shape: tuple[int, ...]


class InField(NamedTuple):
    """What was found in a field.

    Attributes:
        detections: boxes in pixels of the field.
        scale: at which they were found.
        is_full: the detector gave as many as it can for an image, so there may be more.
    """

    detections: Detections
    scale: Scale
    is_full: bool


class FieldDetector:
    """Detects cells in a field of any size and magnification."""

    def __init__(
        self,
        predictor: "ImagePredictor",
        thresholds: Sequence[float],
        diameter: float | None = None,
        micrometres_per_pixel: float | None = None,
    ) -> None:
        """Take the detector.

        Args:
            predictor: with a magnification.
            thresholds: scores from which detections count, by class index.
            diameter: of red cells in all fields, in pixels; None: measured in each.
            micrometres_per_pixel: of all fields, where no diameter is given; None: as their files
                state it.

        Raises:
            ValueError: no detector finds cells of that diameter with this magnification.
        """
        self._magnification = predictor.magnification
        self._diameter = diameter or _diameter_of(micrometres_per_pixel)
        self._looking = Looking(predictor, min(thresholds))
        threshold = thresholds[self._magnification.red_cell]
        self._estimator = ScaleEstimator(self._looking, self._magnification, threshold)
        usual = self._magnification.usual
        if self._diameter and ratio(self._diameter, usual) > FARTHEST:
            given = f"a diameter of {self._diameter:g} pixels"
            if not diameter:
                given = (
                    f"{micrometres_per_pixel:g} micrometres per pixel, by which red cells of "
                    f"{RED_CELL_MICROMETRES} micrometres are {self._diameter:.2g} pixels wide"
                )
            raise ValueError(
                f"{given}: with a detector that was trained on red cells of {usual:.0f} pixels, "
                f"these can be {usual / FARTHEST:.0f} to {usual * FARTHEST:.0f} wide"
            )

    @property
    def usual_diameter(self) -> float:
        """Of red cells in the images of the training, in pixels."""
        return self._magnification.usual

    @property
    def red_cell(self) -> int:
        """Index of the class of red cells."""
        return self._magnification.red_cell

    def stated(self, micrometres_per_pixel: float | None) -> Scale | None:
        """The scale that is known before an image is looked at; None: it has to be measured.

        Args:
            micrometres_per_pixel: of its file. Where red cells would be smaller or larger than the
                detector can find them, it does not count.
        """
        if self._diameter:
            return Scale(self._diameter, GIVEN)
        diameter = _diameter_of(micrometres_per_pixel)
        if not diameter:
            return None
        within = ratio(diameter, self._magnification.usual) <= FARTHEST
        return Scale(diameter, FILE) if within else None

    def _supposed(self, micrometres_per_pixel):
        """Diameter of red cells that a field is resized for at first."""
        stated = self.stated(micrometres_per_pixel)
        return stated.diameter if stated else self._magnification.likely

    def prepare(
        self, image: np.ndarray, micrometres_per_pixel: float | None = None
    ) -> np.ndarray | None:
        """What :meth:`detect` looks at first, of a uint8 array (H, W, 3); None: parts of the image.

        May run in another thread.

        Args:
            image: of any size.
            micrometres_per_pixel: as its file states it.

        Raises:
            ImageError: the image is too narrow to show a cell.
        """
        supposed = self._supposed(micrometres_per_pixel)
        size = self._resized(image, supposed)
        if min(image.shape[:2]) < LEAST_SIDE * supposed:
            stated = f" of {self._diameter:g} pixels" if self._diameter else ""
            shape = f"{image.shape[1]} x {image.shape[0]}"
            raise ImageError(f"cannot be resized: {shape} pixels show no cell{stated}")
        largest, longest = self._magnification.field_pixels, self._estimator.window
        is_small = size[0] * size[1] <= 1.25 * largest and max(size) <= 1.25 * longest
        return resize(image, size) if is_small else None

    def detect(
        self,
        image: np.ndarray,
        prepared: np.ndarray | None,
        micrometres_per_pixel: float | None = None,
    ) -> InField:
        """Detect in ``image``, of which ``prepare`` made ``prepared``; the rest as there."""
        first, supposed = None, self._supposed(micrometres_per_pixel)
        if prepared is not None:
            found, is_full = self._looking.look(prepared)
            first = self._estimator.estimate([found], supposed)
        scale = self.find_scale(image, micrometres_per_pixel, first)
        # What is near enough for one look is near enough for tiles, too: a large field is looked at
        # as its parts would be. One that is resized for that already is not looked at again.
        is_close = ratio(scale.diameter, supposed) <= CLOSE
        if prepared is None or not is_close:
            found, is_full = self._detect_at(image, supposed if is_close else scale.diameter)
        return InField(found.resized_to(image.shape[:2]), scale, is_full)

    def find_scale(
        self,
        image: np.ndarray,
        micrometres_per_pixel: float | None = None,
        first: Estimate | None = None,
    ) -> Scale:
        """The scale of an image.

        What the file states gives way to cells that are measured reliably and differ: a camera
        may not know of an objective that was changed, and an editor keeps the resolution of an
        image that it made smaller.

        Args:
            image: uint8 array (H, W, 3).
            micrometres_per_pixel: as its file states it.
            first: estimate of the scale that was supposed, where there is one.
        """
        stated = self.stated(micrometres_per_pixel)
        if stated and stated.source == GIVEN:
            return stated
        if stated:
            first = first or self._estimator.measure(image, stated.diameter)
            if first.reliable and ratio(first.diameter, stated.diameter) <= NEAR:
                return stated
            estimate = self._estimator(image)
            differs = ratio(estimate.diameter, stated.diameter) > NEAR
            return Scale(estimate.diameter, MEASURED) if estimate.reliable and differs else stated
        if first is not None and first.reliable and first.close:
            return Scale(first.diameter, MEASURED)
        estimate = self._estimator(image, first)
        expected = self._magnification.expected
        if not estimate.cells or (expected and not estimate.reliable):
            return Scale(self._magnification.likely, ASSUMED)
        return Scale(estimate.diameter, MEASURED if estimate.reliable else UNCERTAIN)

    def _detect_at(self, image, diameter):
        """Detections in the whole field, and whether a tile of it is full."""
        full = []

        def detect(tile):
            found, is_full = self.look(resize_part(image, size, tile))
            full.append(is_full)
            return found

        size, tiles = self.plan(image, diameter)
        return detect_in_tiles(detect, size, tiles), any(full)

    def plan(self, image: "HasShape", diameter: float) -> tuple[tuple[int, int], list[Tile]]:
        """The (height, width) that an image is resized to, and tiles of that, row by row.

        Args:
            image: of any size.
            diameter: of its red cells, in pixels.
        """
        magnification, size = self._magnification, self._resized(image, diameter)
        overlap = round(OVERLAP * magnification.known)
        # Where cells are large in the images of the training, a tile needs more than these.
        least = (2 * overlap) ** 2
        largest = max(least, round(magnification.field_pixels * magnification.fields_at_once))
        return size, plan_tiles(*size, largest, overlap)

    def look(self, tile: np.ndarray) -> tuple[Detections, bool]:
        """What a tile (h, w, 3) of a resized image shows, and whether that is all it can give."""
        return self._looking.look(tile)

    def _resized(self, image, diameter):
        factor = self._magnification.known / diameter
        return tuple(max(1, round(side * factor)) for side in image.shape[:2])
