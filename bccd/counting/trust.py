"""How far the counts of an image can be trusted: their intervals, and notes where they cannot."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bccd.counting.border import cut_by_border
from bccd.counting.count_notes import (
    border_notes,
    crowding_notes,
    quality_notes,
    resolution_notes,
    unlike_notes,
)
from bccd.counting.field import ASSUMED, Scale
from bccd.counting.image_quality import ImageQuality, measure_quality, median_quality
from bccd.counting.intervals import CountIntervals, Interval
from bccd.detections import Detections
from bccd.export.magnification import Magnification

NO_INTERVALS = "The counts of this model have no 95% intervals"

logger = logging.getLogger(__name__)


class Doubts(NamedTuple):
    """What is known against a count.

    Attributes:
        notes: sentences on what the intervals account for, as far as it was in the calibration.
        beyond: sentences on what they do not account for: there is none where there are some.
    """

    notes: list[str]
    beyond: list[str]


class Trust:
    """Intervals and notes of the counts of a detector that knows its magnification.

    Attributes:
        intervals: what the 95% intervals are made of; None: there are none.
    """

    def __init__(
        self,
        magnification: Magnification,
        thresholds: Mapping[str, float],
        count_intervals: Mapping[str, Sequence] | None,
        *,
        looks_at_pixels: bool,
    ) -> None:
        """Take what is known of the detector.

        Args:
            magnification: at which it knows cells.
            thresholds: {class name: score from which a detection counts}.
            count_intervals: see ``CountIntervals.of``.
            looks_at_pixels: judge the quality of images, too: the detector is for photographs.
        """
        self._names, self._magnification = tuple(thresholds), magnification
        self._looks_at_pixels = looks_at_pixels
        self.intervals = CountIntervals.of(count_intervals or {}, self._names, "COUNTING.INTERVALS")
        if self.intervals is None:
            logger.info(f"{NO_INTERVALS}: tools/calibrate_intervals.py chooses them")
        elif not self.intervals.apply_to(list(thresholds.values())):
            logger.warning(f"{NO_INTERVALS} with these thresholds: they were chosen with others")
            self.intervals = None

    def quality_of(self, tile: np.ndarray) -> ImageQuality | None:
        """See ``CellCounter.quality_of``."""
        known = self._magnification.known
        if not self._looks_at_pixels:
            return None
        return median_quality(measure_quality(tile, known, known))

    def judge(
        self,
        image: np.ndarray,
        found: Detections,
        counted: np.ndarray,
        scale: Scale,
        pixels: int,
        doubts: Doubts,
    ) -> dict[str, Interval] | None:
        """The interval of each class; None where no interval can be given.

        Args:
            image: uint8 array (H, W, 3).
            found: all detections that may count, whatever their scores.
            counted: mask (P,) of those that do.
            scale: of the field.
            pixels: in which cells were counted.
            doubts: that there are already; more are added.
        """
        area = pixels / scale.diameter**2
        cells = found[counted]
        red_cells = int((cells.classes == self._magnification.red_cell).sum())
        if self._looks_at_pixels:
            known = self._magnification.known
            doubts.beyond.extend(quality_notes(measure_quality(image, scale.diameter, known)))
            doubts.beyond.extend(resolution_notes(image.shape[:2], scale.diameter, known))
        doubts.beyond.extend(crowding_notes(red_cells, area))
        cut = int(cut_by_border(cells, scale.diameter).sum())
        doubts.notes.extend(border_notes(len(cells), cut))
        if self.intervals is None:
            return None
        terms = self.intervals.terms(found, area)
        doubts.beyond.extend(unlike_notes(terms.counted.sum(), terms.variance.sum()))
        if doubts.beyond or scale.source == ASSUMED:
            return None
        low, high = self.intervals.bounds(terms).tolist()
        return {name: (low[k], high[k]) for k, name in enumerate(self._names)}
