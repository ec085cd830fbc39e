"""Score thresholds from few fields: how far they may move, and whether that helps.

Ten fields say little about a class, least of all about a rare one. With the thresholds that come
with the model, the counts of the fields differ from what is marked by a sum b, which would vary
from one set of fields to the next with a variance v that the fields themselves show. By the rule of
James and Stein (Proc. 4th Berkeley Symposium, 1961, in its positive part), only the share
1 - v / b^2 of the difference is taken away: none of it where chance explains it all. So a threshold
stays where it is unless the fields agree that it is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Variance of a difference that the fields themselves do not show: that of one cell.
_LEAST_VARIANCE = 1.0


@dataclass(frozen=True)
class ScoredFields:
    """What a detector finds in fields, and what is marked there.

    Attributes:
        scores: for each of F fields, for each of K classes, the scores that were found.
        marked: (F, K) numbers of marked cells.
        groups: (F,) fields with the same number show the same place, or nearly so.
    """

    scores: Sequence[Sequence[np.ndarray]]
    marked: np.ndarray
    groups: np.ndarray

    def counted(self, thresholds: np.ndarray) -> np.ndarray:
        """Numbers of cells (F, K) with thresholds (K,) of all fields, or (F, K) of each."""
        rows = np.broadcast_to(thresholds, self.marked.shape)
        return np.array(
            [
                [int((scores >= low).sum()) for scores, low in zip(field, row, strict=True)]
                for field, row in zip(self.scores, rows, strict=True)
            ]
        )

    def select(self, chosen: np.ndarray) -> "ScoredFields":
        """The fields for which ``chosen`` (F,) is True."""
        scores = [field for field, taken in zip(self.scores, chosen, strict=True) if taken]
        return ScoredFields(scores, self.marked[chosen], self.groups[chosen])


def choose_thresholds(fields: ScoredFields, shipped: np.ndarray) -> np.ndarray:
    """The threshold (K,) of each class, as far from the ``shipped`` one (K,) as the fields allow.

    A single group of fields shows no variance, so that nothing changes.
    """
    groups = np.unique(fields.groups)
    if (count := len(groups)) < 2:
        return shipped.copy()
    differences = fields.counted(shipped) - fields.marked
    by_group = np.stack([differences[fields.groups == group].sum(axis=0) for group in groups])
    # A variance of few groups is itself uncertain, which the second factor allows for.
    variance = count * by_group.var(axis=0, ddof=1) * (count + 1) / (count - 1) + _LEAST_VARIANCE
    chosen = shipped.copy()
    for k, difference in enumerate(by_group.sum(axis=0)):
        removed = 1 - variance[k] / max(difference**2, 1e-9)
        if removed > 0:
            target = fields.marked[:, k].sum() + (1 - removed) * difference
            scores = np.concatenate([field[k] for field in fields.scores])
            chosen[k] = _threshold(scores, max(1, round(target)), shipped[k])
    return chosen


def _threshold(scores, count, otherwise):
    """A score with which ``count`` are counted, or all of them where they are fewer."""
    scores = np.sort(scores)[::-1]
    if len(scores) > count:
        return float((scores[count - 1] + scores[count]) / 2)
    return float(scores.min(initial=otherwise))


def choose_without_each(fields: ScoredFields, shipped: np.ndarray) -> np.ndarray:
    """Thresholds (F, K) of each field, chosen on the fields of all other groups."""
    chosen = np.empty(fields.marked.shape)
    for group in np.unique(fields.groups):
        own = fields.groups == group
        chosen[own] = choose_thresholds(fields.select(~own), shipped)
    return chosen


def helps(before: np.ndarray, after: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Whether the counts of each class (K,) became better on fields (F, K).

    Both the errors of the single fields and the error of all together count: a laboratory looks at
    fields, and at sums.
    """
    return _errors(after - marked) < _errors(before - marked)


def _errors(differences):
    return np.abs(differences).sum(axis=0) + np.abs(differences.sum(axis=0))
