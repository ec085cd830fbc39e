"""Score thresholds with which the counts of fields are right on average."""

from collections.abc import Iterable, Sequence

import numpy as np

from bccd.counting.field import FieldDetector
from bccd.counting.load import ImagePredictor
from bccd.counting.thresholds import DEFAULT_THRESHOLD


def unbiased_thresholds(
    predictor: ImagePredictor,
    fields: Iterable[tuple[np.ndarray, Sequence[int]]],
    least: int = 1,
) -> dict[str, float]:
    """Choose the threshold of each class with which as many cells count as are marked.

    False cells and missed ones are then equal in number. Fields must be marked completely.

    Args:
        predictor: with a magnification.
        fields: uint8 BGR images (H, W, 3), and the classes of the cells that are marked in each.
        least: cells of a class that must be marked, 1 or more.

    Returns:
        {class name: score}, without the classes of which fewer cells are marked.
    """
    names = predictor.class_names
    before = predictor.operating_points or dict.fromkeys(names, DEFAULT_THRESHOLD)
    detector = FieldDetector(predictor, [before[name] for name in names])
    scores, marked = [[] for _ in names], np.zeros(len(names), dtype=int)
    for image, classes in fields:
        found = detector.detect(image, detector.prepare(image)).detections
        for k in range(len(names)):
            scores[k].append(found.scores[found.classes == k])
        marked += np.bincount(np.asarray(classes, dtype=int), minlength=len(names))
    return {
        name: _threshold(np.concatenate(of_class), count)
        for name, of_class, count in zip(names, scores, marked, strict=True)
        if count >= least
    }


def _threshold(scores, count):
    """A score between the ``count``-th highest and the next one."""
    scores = np.sort(scores)[::-1]
    if len(scores) <= count:
        return float(scores.min(initial=1.0))
    return float((scores[count - 1] + scores[count]) / 2)
