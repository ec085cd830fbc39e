"""Totals, means and spread over the fields of a study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bccd.counting.intervals import CountIntervals
from bccd.counting.summary import FIELD, Quantity, Tally, summarise
from bccd.study.results.content import Content, read_content

if TYPE_CHECKING:
    from bccd.study.study import Study


class Spread(NamedTuple):
    """What the fields say of a class.

    Attributes:
        total: number of its cells in all fields.
        mean: per field; None: no field is counted.
        sd: standard deviation between fields; None: there are not two.
        low, high: 95% interval of the mean; None: the fields do not say.
    """

    total: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


class Summary(NamedTuple):
    """What the fields of a study say together.

    Attributes:
        by_class: {class: Spread}.
        fields: counted ones, which it is made of.
        reviewed: those of them that a person accepted.
        quantities: also ratios, see :func:`bccd.counting.summary.summarise`.
        size_ratio: of the largest field to the smallest, where means mix different fields.
    """

    by_class: dict[str, Spread]
    fields: int
    reviewed: int
    quantities: list[Quantity]
    size_ratio: float | None


def summary(study: "Study", field_ids: Sequence[int] | None = None) -> Summary:
    """Totals, means and spread over the counted fields of a study."""
    with read_content(study, field_ids) as content:
        return summarise_content(content)


def summarise_content(content: Content) -> Summary:
    """As :func:`summary`.

    The intervals hold the error by which the model counts a laboratory too low or too high, unless
    a person has accepted every field.
    """
    tally = Tally(content.class_names)
    counted = [row for row in content.rows if row.counts is not None]
    for row in counted:
        pixels = row.width * row.height if row.width and row.height else None
        tally.add(row.counts, pixels, row.diameter)
    reviewed = sum(row.reviewed_at is not None for row in counted)
    intervals = None
    same = content.class_names == content.facts.class_names
    if same and reviewed < len(counted) and content.facts.count_intervals:
        intervals = CountIntervals.of(
            content.facts.count_intervals, content.class_names, "the model"
        )
    quantities = summarise(tally, intervals)
    means = {each.name: each for each in quantities if each.unit == f"per {FIELD}"}
    spreads = {}
    for k, name in enumerate(content.class_names):
        mean, total = means.get(name), int(tally.sums[k])
        numbers = [mean.value, mean.sd, mean.low, mean.high] if mean else [None] * 4
        numbers = [None if value is None else float(value) for value in numbers]
        spreads[name] = Spread(total, *numbers)
    return Summary(spreads, len(counted), reviewed, quantities, tally.size_ratio)
