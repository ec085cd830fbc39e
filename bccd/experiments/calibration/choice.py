"""Thresholds for what a detector finds in corrected fields, where they help on held-back ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccd.detections import Detections
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.experiments.calibration.detected import above, count_correct, scored
from bccd.experiments.calibration.thresholds import choose_thresholds, choose_without_each, helps


@dataclass(frozen=True)
class Chosen:
    """Thresholds that were chosen for what one detector finds.

    Attributes:
        thresholds: (K,) of each class.
        before, after: (F, K) counts with the thresholds from before, and with those that were
            chosen without the field.
        correct: (K,) numbers of cells among ``after`` that are where one is marked.
        found: by the detector in each field, at any score.
    """

    thresholds: np.ndarray
    before: np.ndarray
    after: np.ndarray
    correct: np.ndarray
    found: Sequence[Detections]

    def error(self, marked: np.ndarray) -> float:
        """Error of the counts after, in cells: of single fields, and of all together."""
        differences = self.after - marked
        return float(np.abs(differences).sum() + np.abs(differences.sum(axis=0)).sum())


def choose(
    found: Sequence[Detections],
    fields: Sequence[CorrectedField],
    shipped: np.ndarray,
    annotated: np.ndarray,
) -> Chosen:
    """Choose thresholds, and keep those that help where the field itself was held back.

    Args:
        found: in each field, at any score.
        fields: with the marked cells.
        shipped: (K,) thresholds from before.
        annotated: (K,) whether cells of the class are marked at all.
    """
    classes, of_fields = len(shipped), scored(found, fields, len(shipped))
    before = of_fields.counted(shipped)
    trial = choose_without_each(of_fields, shipped)
    used = helps(before, of_fields.counted(trial), of_fields.marked) & annotated
    rows = np.where(used, trial, shipped)
    correct = [
        count_correct(above(each, row), field, classes)
        for each, row, field in zip(found, rows, fields, strict=True)
    ]
    return Chosen(
        np.where(used, choose_thresholds(of_fields, shipped), shipped),
        before,
        of_fields.counted(rows),
        np.sum(correct, axis=0),
        found,
    )
