"""What a detector finds in corrected fields, at any score."""

from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from bccd.counting.counter import CellCounter
from bccd.counting.field import FieldDetector
from bccd.counting.load import ImagePredictor
from bccd.counting.tiles import overlap_of
from bccd.detections import Detections
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.experiments.calibration.thresholds import ScoredFields

SAME_BOX = 0.98  # intersection over union of a box and its copy that a program has rounded
CORRECT = 0.5  # the same of a detection and the cell that it is of


def thresholds_of(predictor: ImagePredictor) -> np.ndarray:
    """The scores (K,) from which ``bccd count`` counts a detection of each class."""
    return np.array(list(CellCounter.of(predictor).thresholds.values()))


def detect_fields(
    predictor: ImagePredictor, thresholds: np.ndarray, fields: Iterable[CorrectedField]
) -> list[Detections]:
    """Detect in each field as ``bccd count`` does, and keep what scores too low to count, too.

    Raises:
        OSError, ValueError: an image cannot be read.
    """
    detector = None
    if predictor.magnification is not None:
        detector = FieldDetector(predictor, thresholds.tolist())
    found = []
    for field in tqdm(fields, unit="field", leave=False, disable=None):
        image = field.read()
        if detector is None:
            found.append(predictor.detect(predictor.prepare(image)))
        else:
            found.append(detector.detect(image, detector.prepare(image)).detections)
    return found


def scored(
    found: Sequence[Detections], fields: Sequence[CorrectedField], classes: int
) -> ScoredFields:
    """Scores by field and class, of ``classes`` classes, and what is marked."""
    return ScoredFields(
        [[each.scores[each.classes == k] for k in range(classes)] for each in found],
        np.array([np.bincount(field.classes, minlength=classes) for field in fields]),
        np.array([field.group for field in fields]),
    )


def above(found: Detections, thresholds: np.ndarray) -> Detections:
    """What counts with thresholds (K,)."""
    return found[found.scores >= thresholds[found.classes]]


def is_unchanged(found: Detections, field: CorrectedField) -> bool:
    """Whether what is marked in a field is exactly what counts there, so nothing was corrected."""
    if len(found) != len(field.boxes):
        return False
    return len(_matches(found, field, SAME_BOX)) == len(found)


def count_correct(found: Detections, field: CorrectedField, classes: int) -> np.ndarray:
    """Number of detections of each class (K,) that are of a marked cell."""
    return np.bincount(found.classes[_matches(found, field, CORRECT)], minlength=classes)


def _matches(found, field, least):
    """Indices of detections that overlap a marked cell of their class, each cell's best alone."""
    common, union = overlap_of(found.boxes[:, None], field.boxes)
    overlap = np.where(found.classes[:, None] == field.classes, common / union, 0.0)
    matched = []
    for index in np.argsort(-found.scores, kind="stable").tolist():
        best = int(overlap[index].argmax()) if overlap.shape[1] else -1
        if best >= 0 and overlap[index, best] >= least:
            overlap[:, best] = 0.0
            matched.append(index)
    return matched
