"""How the counts of the model agree with those of the person who corrected them.

The person saw what the model had found, so both agree more than two counts that are made apart: it
says how much there was to correct.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bccd.study.corrections import iou
from bccd.study.field_state import Box
from bccd.study.results.content import Content, read_content

if TYPE_CHECKING:
    from bccd.study.study import Study

SAME = 0.5  # IoU from which a box of the model and one of the person are of one cell
_LIMITS = 1.96  # standard deviations within which 95% of the differences lie


class ClassAgreement(NamedTuple):
    """Model and person on one class.

    Attributes:
        model, hand: cells in all accepted fields.
        bias: mean difference of the counts of a field, model - person.
        low, high: limits of agreement, between which 95% of the differences lie (Bland and Altman,
            Lancet 327, 1986); None: there are not two fields.
        precision: share of the model's cells that the person confirmed; None: it found none.
        recall: share of the person's cells that the model had found; None: there are none.
        points: mean and difference of the two counts of each field.
    """

    model: int
    hand: int
    bias: float
    low: float | None
    high: float | None
    precision: float | None
    recall: float | None
    points: list[tuple[float, float]]


class Agreement(NamedTuple):
    """Model and person on the fields that were accepted: their number, and each class."""

    fields: int
    by_class: dict[str, ClassAgreement]


def agreement(study: "Study", field_ids: Sequence[int] | None = None) -> Agreement:
    """How model and person agree on the accepted fields of a study."""
    with read_content(study, field_ids) as content:
        return agree(content)


def agree(content: Content) -> Agreement:
    """As :func:`agreement`."""
    names = content.class_names
    counts: list[tuple[list[int], list[int]]] = []
    both = dict.fromkeys(names, 0)
    for row in content.rows:
        if row.reviewed_at is None or row.model_counts is None:
            continue
        field = content.field(row)
        found = field.looked.of_model()
        for name in names:
            both[name] += match(_of(name, found), _of(name, field.boxes))
        pair = [[len(_of(name, boxes)) for name in names] for boxes in (found, field.boxes)]
        counts.append((pair[0], pair[1]))
    by_class = {}
    for k, name in enumerate(names):
        pairs = [(model[k], hand[k]) for model, hand in counts]
        by_class[name] = _compare(pairs, both[name])
    return Agreement(len(counts), by_class)


def _compare(pairs, both) -> ClassAgreement:
    model, hand = (sum(each) for each in zip(*pairs, strict=True)) if pairs else (0, 0)
    points = [((m + h) / 2, float(m - h)) for m, h in pairs]
    differences = np.array([difference for _, difference in points])
    bias = float(differences.mean()) if pairs else 0.0
    reach = _LIMITS * float(differences.std(ddof=1)) if len(pairs) > 1 else math.nan
    low, high = (None, None) if math.isnan(reach) else (bias - reach, bias + reach)
    precision, recall = both / model if model else None, both / hand if hand else None
    return ClassAgreement(model, hand, bias, low, high, precision, recall, points)


def match(found: Sequence[Box], marked: Sequence[Box]) -> int:
    """Number of cells that both have: each box is of one pair at most, the closest first."""
    if not found or not marked:
        return 0
    overlaps = iou([box.box for box in found], [box.box for box in marked])
    pairs = 0
    while overlaps.size and overlaps.max() >= SAME:
        i, j = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[i], overlaps[:, j] = -1, -1
        pairs += 1
    return pairs


def _of(name, boxes):
    return [box for box in boxes if box.name == name]
