"""The 95% intervals of the counts of a calibrated model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from bccd.counting.fit_intervals import LEAST_FIELDS, MarkedField, fit_intervals
from bccd.counting.intervals import CountIntervals
from bccd.counting.load import ImagePredictor
from bccd.detections import Detections
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.experiments.calibration.diameter import field_diameter


@dataclass(frozen=True)
class Intervals:
    """What becomes of the intervals.

    Attributes:
        values: COUNTING.INTERVALS as ``CountIntervals.to_dict`` gives them; None: there are none.
        covered: counts of the corrected fields whose interval holds what is marked.
        counts: number of these counts: fields times classes.
        reason: what was done; a sentence.
    """

    values: dict | None
    covered: int
    counts: int
    reason: str


def calibrated_intervals(
    predictor: ImagePredictor,
    fields: Sequence[CorrectedField],
    found: Sequence[Detections],
    thresholds: np.ndarray,
) -> Intervals:
    """Choose the intervals anew where there are enough fields; else keep those of the model.

    Args:
        predictor: that was calibrated.
        fields: that were corrected.
        found: in them, also with scores that do not count.
        thresholds: (K,) of the calibrated model.
    """
    names, magnification = tuple(predictor.class_names), predictor.magnification
    stored = None
    if magnification is not None:
        values = predictor.count_intervals or {}
        stored = CountIntervals.of(values, names, "COUNTING.INTERVALS")
    if stored is None:
        return Intervals(None, 0, 0, "The counts of this model have no 95% intervals.")
    marked = [_marked(*each, magnification) for each in zip(fields, found, strict=True)]
    different = len({field.group for field in fields})
    if different < LEAST_FIELDS or not find_spec("hotcoco"):  # which a light install lacks
        kept = dataclasses.replace(stored, thresholds=tuple(thresholds.tolist()))
        covered, counts = _coverage(kept, marked)
        return Intervals(
            kept.to_dict(),
            covered,
            counts,
            "The 95% intervals stay those that the model came with, for which other laboratories "
            f"were measured ({LEAST_FIELDS} different fields and the full installation allow to "
            "choose them here). "
            f"They hold {covered} of the {counts} numbers that are marked.",
        )
    chosen = fit_intervals(names, thresholds.tolist(), {"corrected fields": marked})
    covered, counts = _coverage(chosen, marked)
    return Intervals(
        chosen.to_dict(),
        covered,
        counts,
        f"The 95% intervals are chosen anew on these {len(fields)} fields, and are for images like "
        "these alone.",
    )


def _marked(field, found, magnification):
    diameter = field_diameter(field, magnification.red_cell) or magnification.likely
    area = field.annotated.height * field.annotated.width / diameter**2
    return MarkedField(found, area, field.boxes, field.classes)


def _coverage(intervals, fields):
    covered = counts = 0
    for field in fields:
        bounds = np.array(intervals(field.found, field.area))
        truth = field.marked(len(bounds))
        covered += int(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).sum())
        counts += len(bounds)
    return covered, counts
