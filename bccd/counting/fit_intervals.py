"""Choosing what the intervals of counts are made of, on fields that are marked completely.

Conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005;
split, with a normalised error as score): an interval with the chosen width covers at least 95% of
further fields, on average over the choice of the fields here, whatever the errors' distribution,
as long as the fields are of the same kind. That holds for each laboratory here, as the widest of
their widths is taken; a further laboratory may be worse. Libraries (``crepes``, ``mapie``) compute
one quantile of normalised residuals, which is a line here, and need pandas or scikit-learn; none
has the share of the count that a whole laboratory is wrong by.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from bccd.counting.detection_files import to_coco_results
from bccd.counting.intervals import LEVEL, CountIntervals, Terms
from bccd.detections import Detections

if TYPE_CHECKING:
    from bccd.evaluation.coco import ClassMatches

LEAST_FIELDS = ceil(LEVEL / (1 - LEVEL))  # of a laboratory: 19, whose worst error is the quantile
# In standard deviations: less would be wrong of a large field, whose errors are about normal.
_LEAST_WIDTH = NormalDist().inv_cdf((1 + LEVEL) / 2)
_ONE_SIDED = NormalDist().inv_cdf(LEVEL)
_RIDGE = 0.01  # keeps the logistic function finite where scores tell cells from all else


@dataclass(frozen=True)
class MarkedField:
    """A field whose cells are known.

    Attributes:
        found: in it, also with scores that do not count.
        area: of the field, relative to the square of its red cells' diameter.
        boxes: (M, 4) of all its cells, as XYXY in pixels.
        classes: (M,) their indices.
        incomplete: indices of classes whose cells are not all marked.
    """

    found: Detections
    area: float
    boxes: np.ndarray
    classes: np.ndarray
    incomplete: frozenset[int] = frozenset()

    def marked(self, count: int) -> np.ndarray:
        """Number of its cells of each of ``count`` classes."""
        return np.bincount(np.asarray(self.classes, int), minlength=count)


def fit_intervals(
    class_names: Sequence[str],
    thresholds: Sequence[float],
    laboratories: Mapping[str, Sequence[MarkedField]],
    iou: float = 0.5,
) -> CountIntervals:
    """Choose the intervals of a detector's counts.

    Args:
        class_names: of the detector.
        thresholds: score from which a detection counts, by class index.
        laboratories: fields of each, by the name of the data set; not those of the training.
        iou: intersection over union from which a detection is of a cell.

    The numbers of a class are chosen on the laboratories that mark it completely.

    Raises:
        ValueError: a laboratory has too few fields, or a class is marked completely in none.
    """
    for name, fields in laboratories.items():
        if len(fields) < LEAST_FIELDS:
            raise ValueError(
                f"{name} has {len(fields)} fields: a 95% interval needs at least {LEAST_FIELDS}"
            )
    matches = {
        name: match_fields(fields, class_names, iou) for name, fields in laboratories.items()
    }
    curves, missed = [], []
    marking = _marking(class_names, laboratories)
    for k in range(len(class_names)):
        of_class = [matches[name][k] for name in marking[k]]
        scores = np.concatenate([match.score for match in of_class])
        correct = np.concatenate([match.correct[0] for match in of_class])
        curves.append(_logistic(scores, correct))
        # Half a cell: that none was missed here does not say that none ever is.
        areas = [sum(field.area for field in laboratories[name]) for name in marking[k]]
        lost = [match.positives.sum() - match.correct[0].sum() + 0.5 for match in of_class]
        missed.append(max(n / area for n, area in zip(lost, areas, strict=True)))
    slope, offset = np.transpose(curves)
    zeros = np.zeros(len(class_names))
    without = CountIntervals(tuple(thresholds), slope, offset, missed, zeros, zeros, zeros, zeros)
    unforeseen = _unforeseen(without, laboratories)
    without = dataclasses.replace(without, unforeseen=unforeseen)
    widths, too_few, too_many = _fit_widths(without, laboratories)
    chosen = thresholds, slope, offset, missed, unforeseen, too_few, too_many, widths
    return CountIntervals(*(tuple(map(float, v)) for v in chosen), tuple(laboratories))


def _marking(class_names, laboratories):
    """For each class, the names of the laboratories that mark it completely."""
    marking = [
        [name for name, fields in laboratories.items() if k not in fields[0].incomplete]
        for k in range(len(class_names))
    ]
    if unmarked := [name for name, by in zip(class_names, marking, strict=True) if not by]:
        raise ValueError(f"{unmarked[0]} is marked completely in none of {', '.join(laboratories)}")
    return marking


def match_fields(
    fields: Sequence[MarkedField], class_names: Sequence[str], iou: float
) -> list["ClassMatches"]:
    """Which detections are of cells, for each class.

    Args:
        fields: whose cells are known.
        class_names: of the detector.
        iou: intersection over union from which a detection is of a cell.
    """
    from bccd.evaluation.coco import match_boxes  # counting runs without its library

    categories = [{"id": k, "name": name} for k, name in enumerate(class_names, start=1)]
    images = [{"id": number} for number in range(len(fields))]
    annotations, detections = [], []
    for number, field in enumerate(fields):
        for box, k in zip(field.boxes, field.classes, strict=True):
            width, height = float(box[2] - box[0]), float(box[3] - box[1])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(k) + 1,
                    "bbox": [float(box[0]), float(box[1]), width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        detections += [{"image_id": number, **each} for each in to_coco_results(field.found)]
    truth = {"images": images, "categories": categories, "annotations": annotations}
    return match_boxes(truth, detections, iou)


def _logistic(scores, correct):
    """Slope and offset of the probability of being correct over the score's logit, by Newton."""
    scores = scores.clip(1e-4, 1 - 1e-4)
    x = np.stack([np.log(scores / (1 - scores)), np.ones_like(scores)], axis=1)
    weights = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (correct - p) - _RIDGE * weights)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _unforeseen(intervals, laboratories):
    """The variance that the probabilities do not account for, for each cell that counts.

    Sure detections that are wrong are too rare to be seen often in the fields here: as many are
    supposed as there can be with a probability of 95%, if they are Poisson's.
    """
    terms, truth, marks = _gather(intervals, laboratories)
    more = []
    for of_laboratory, number in zip(terms, truth, strict=True):
        seen = (_beyond(of_laboratory, number)[0] ** 2).sum(axis=0)
        most = seen + _ONE_SIDED * np.sqrt(seen) + _ONE_SIDED**2
        known, cells = of_laboratory.variance.sum(axis=0), of_laboratory.counted.sum(axis=0)
        more.append((most - known) / cells.clip(min=1))
    return np.where(marks, more, 0).max(axis=0).clip(min=0)


def _gather(intervals, laboratories):
    """Of each laboratory its fields' terms and numbers of cells (fields, K), and (K,) bool: whether
    these are all marked."""
    terms, truth = [], []
    for fields in laboratories.values():
        of_fields = [intervals.terms(field.found, field.area) for field in fields]
        terms.append(Terms(*(np.array(v) for v in zip(*map(_values, of_fields), strict=True))))
        truth.append(np.array([field.marked(len(intervals.slope)) for field in fields]))
    marks = np.ones((len(terms), len(intervals.slope)), dtype=bool)
    for row, fields in zip(marks, laboratories.values(), strict=True):
        row[list(fields[0].incomplete)] = False
    return terms, truth, marks


def _fit_widths(intervals, laboratories):
    """Widths, and shares by which cells are counted too low and too high, of each class."""
    terms, truth, marks = _gather(intervals, laboratories)
    shares = np.where(marks, [_share(*each) for each in zip(terms, truth, strict=True)], 0)
    too_few, too_many = shares.max(axis=0).clip(min=0), (-shares).max(axis=0).clip(min=0)
    pairs = zip(terms, truth, strict=True)
    widths = [_quantile(_widths(t, n, too_few, too_many)) for t, n in pairs]
    widths = np.where(marks, widths, 0).max(axis=0)
    return widths.clip(min=_LEAST_WIDTH), too_few, too_many


def _share(terms, truth):
    """By which share of the count a laboratory has more cells; 0 where that may be chance."""
    more = (truth - terms.counted).sum(axis=0)
    chance = 2 * np.sqrt(terms.variance.sum(axis=0))
    return np.where(np.abs(more) > chance, more, 0) / terms.counted.sum(axis=0).clip(min=1)


def _values(terms):
    return terms.counted, terms.expected, terms.variance


def _widths(terms, truth, too_few, too_many):
    """The least width whose interval holds what is true, (fields, K); see ``bounds``."""
    beyond, is_over = _beyond(terms, truth)
    share = np.where(is_over, too_few, too_many) * terms.counted
    return np.sqrt((beyond**2 - share**2).clip(min=0) / terms.variance)


def _beyond(terms, truth):
    """How far what is true lies beyond what was counted and expected, and whether above it."""
    over = truth - np.maximum(terms.counted, terms.expected)
    under = np.minimum(terms.counted, terms.expected) - truth
    return np.maximum(over, under).clip(min=0), over > under


def _quantile(widths):
    """That of conformal prediction, of each column."""
    count = len(widths)
    return np.sort(widths, axis=0)[min(count, ceil(LEVEL * (count + 1))) - 1]
