"""What the counts of many fields say together: means, ratios and concentrations, with intervals.

The fields stand for all that could have been photographed of the smear. SciPy, which has the
quantiles of Student's distribution, is not installed where counting is alone.
"""

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from bccd.counting.intervals import LEVEL, CountIntervals
from bccd.data.classes import find_class
from bccd.suggestions import did_you_mean

CSV_NAME = "summary.csv"
_NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)
FIELD, SLIDE = "field", "slide"  # of what numbers are means: these are not added up
PER_FIELD, PER_SLIDE = "per field", "per slide"
PER_RED, PER_1000_RED = "per red cell", "per 1,000 red cells"
PER_MICROLITRE = "per microlitre"
# Ratio of the largest to the smallest field, both in diameters of red cells, from which numbers per
# field are of no one kind of field. Measured diameters alone differ by less.
UNEQUAL = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantity:
    """A number that the fields give together.

    Attributes:
        name: of the class.
        unit: ``per field`` or ``per slide``, ``per red cell``, ``per 1,000 red cells`` or
            ``per microlitre``.
        value: None where there is nothing to divide by.
        sd: standard deviation between fields; of ratios None.
        low, high: 95% interval; None where the fields do not say.
        fields: number of fields; of slides, where they are ``kind``.
        kind: "field" or "slide".
    """

    name: str
    unit: str
    value: float | None
    sd: float | None
    low: float | None
    high: float | None
    fields: int
    kind: str = FIELD


class Tally:
    """Sums over fields, from which :func:`summarise` makes the summary: no field is remembered.

    Attributes:
        class_names: of the K classes.
        kind: "field"; or "slide", whose numbers are no field's.
        fields: number of them.
        sums: (K,) of the counts.
        products: (K, K) sums of the products of a field's counts.
        areas: of the smallest and the largest field, relative to the square of a red cell's
            diameter; None: unknown.
    """

    def __init__(self, class_names: Sequence[str], kind: str = FIELD) -> None:
        """Take the names of the classes, and what is added up."""
        self.class_names, self.kind = tuple(class_names), kind
        count = len(self.class_names)
        self.fields, self.sums = 0, np.zeros(count)
        self.products = np.zeros((count, count))
        self.areas: tuple[float, float] | None = None

    def add(
        self, counts: Mapping[str, int], pixels: float | None = None, diameter: float | None = None
    ) -> None:
        """Add a field.

        Args:
            counts: {class name: number}; classes that are not in it have no cells.
            pixels, diameter: its area and its red cells' diameter, where both are known.
        """
        if pixels and diameter:
            area = pixels / diameter**2
            least, most = self.areas or (area, area)
            self.areas = min(least, area), max(most, area)
        self.add_fields(np.array([[counts.get(name, 0) for name in self.class_names]], dtype=float))

    @property
    def size_ratio(self) -> float | None:
        """Area of the largest field by that of the smallest; None: they may be taken as equal."""
        least, most = self.areas or (1.0, 1.0)
        return most / least if most >= UNEQUAL * least else None

    def add_fields(self, counts: np.ndarray) -> None:
        """Add fields by the numbers of their cells, (N, K)."""
        self.fields += len(counts)
        self.sums += counts.sum(axis=0)
        self.products += counts.T @ counts


def summarise(
    tally: Tally,
    intervals: CountIntervals | None = None,
    microlitre_factors: float | Mapping[str, float] | None = None,
) -> list[Quantity]:
    """Means per field, ratios to red cells, and concentrations.

    * The interval of a mean is Student's, from the spread between fields. Of a single field, or
      where not one cell was counted, it is what a Poisson distribution allows: cells that lie at
      random.
    * That of a ratio is the score interval of a Poisson rate, with the dispersion of the fields
      where that is wider.
    * Both are widened by the share that the detector counts the cells of a laboratory too low or
      too high: no number of fields makes that smaller.

    Args:
        tally: of the fields.
        intervals: of the detector's counts; None: unknown, so its errors are not in the intervals.
        microlitre_factors: cells in a microlitre for one cell per field, for all classes or by
            class name; None: no concentrations. Of no use for slides.

    Raises:
        ValueError: a factor of an unknown class, or that is not above 0.
    """
    factors = check_factors(microlitre_factors, tally.class_names)
    if not tally.fields:
        return []
    if tally.kind == SLIDE:
        factors = {}
    elif tally.size_ratio:
        logger.warning(
            f"The largest field shows {tally.size_ratio:.1f} times the area of the "
            "smallest: numbers per field, and per microlitre, mix different fields. Count fields "
            "of one size together"
        )
    few, many = _shares(intervals, len(tally.class_names))
    means = [_mean(tally, k, few[k], many[k]) for k in range(len(tally.class_names))]
    red, found = find_class("RBC", tally.class_names), list(means)
    if red is not None:
        platelets = find_class("Platelets", tally.class_names)
        found += [
            _ratio(tally, k, red, 1 if k == platelets else 1000, few, many)
            for k in range(len(means))
            if k != red
        ]
    return found + [
        _scaled(mean, factors[mean.name]) for mean in means if factors.get(mean.name) is not None
    ]


def check_factors(
    factors: float | Mapping[str, float] | None, class_names: Sequence[str]
) -> dict[str, float]:
    """{class name: factor} of what the user gave.

    Raises:
        ValueError: as :func:`summarise`.
    """
    if factors is None:
        return {}
    if not isinstance(factors, Mapping):
        factors = dict.fromkeys(class_names, factors)
    for name, factor in factors.items():
        if name not in class_names:
            raise ValueError(
                f"the microlitre factor of {name}: the detector has the classes "
                f"{', '.join(class_names)}.{did_you_mean(str(name), class_names)}"
            )
        if not 0 < factor < math.inf:
            raise ValueError(f"the microlitre factor of {name} is {factor}: expected more than 0")
    return {name: float(factor) for name, factor in factors.items()}


def student(freedom: int) -> float:
    """The quantile of Student's distribution for a 95% interval, to a thousandth.

    Args:
        freedom: degrees of freedom, from 1. Exact for 1 and 2; from 3 on the expansion 26.7.5 of
            Abramowitz and Stegun, Handbook of Mathematical Functions, 1964.
    """
    if freedom == 1:
        return math.tan(math.pi * LEVEL / 2)
    if freedom == 2:
        return LEVEL * math.sqrt(2 / (1 - LEVEL**2))
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**i for i, term in enumerate(terms, start=1))


def write_summary(path: Path, quantities: Iterable[Quantity]) -> None:
    """Write a CSV file with a row for each quantity, which spreadsheets open."""
    columns = ["class", "unit", "value", "sd", "low", "high", "fields", "kind"]
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        table.writerow(columns)
        for quantity in quantities:
            table.writerow([_rounded(value) for value in asdict(quantity).values()])


def in_words(quantity: Quantity) -> str:
    """``WBC per 1,000 red cells: 51 (95% interval 43 to 60)``."""
    text = f"{quantity.name} {quantity.unit}"
    if quantity.kind == SLIDE and SLIDE not in quantity.unit:
        text += " in slides"
    text += f": {_number(quantity.value)}"
    if quantity.sd is not None:
        text += f", SD {_number(quantity.sd)}"
    if quantity.low is not None:
        text += f" (95% interval {_number(quantity.low)} to {_number(quantity.high)})"
    return text


def _shares(intervals, count):
    """By which share of the count there may be more, and fewer, of each class."""
    if intervals is None:
        return np.zeros(count), np.zeros(count)
    return np.array(intervals.too_few), np.array(intervals.too_many)


def _mean(tally, k, few, many):
    n, total = tally.fields, tally.sums[k]
    mean, variance = total / n, _variance(tally, k, k)
    sd = math.sqrt(variance) if n > 1 else None
    if not total:
        low, high = 0.0, -math.log((1 - LEVEL) / 2) / n
    elif n > 1:
        half = student(n - 1) * sd / math.sqrt(n)
        low, high = _widened(mean, mean - half, mean + half, few, many)
    else:
        low, high = _widened(mean, *_poisson(total, _NORMAL**2), few, many)
    unit = PER_SLIDE if tally.kind == SLIDE else PER_FIELD
    return Quantity(tally.class_names[k], unit, mean, sd, low, high, n, tally.kind)


def _poisson(cells, z2):
    """The score interval of the mean of a Poisson distribution that gave so many cells."""
    middle, half = cells + z2 / 2, math.sqrt(z2 * (cells + z2 / 4))
    return max(0.0, middle - half), middle + half


def _variance(tally, i, j):
    n = tally.fields
    if n == 1:
        return 0.0
    return max(0.0, (tally.products[i, j] - tally.sums[i] * tally.sums[j] / n) / (n - 1))


def _ratio(tally, k, red, scale, few, many):
    cells, reds, n = tally.sums[k], tally.sums[red], tally.fields
    name, unit = tally.class_names[k], PER_1000_RED if scale == 1000 else PER_RED
    if not reds:
        return Quantity(name, unit, None, None, None, None, n, tally.kind)
    ratio, z2 = cells / reds, _NORMAL**2
    if n > 1 and cells:
        products = tally.products
        residuals = products[k, k] - 2 * ratio * products[k, red] + ratio**2 * products[red, red]
        dispersion = residuals / (n - 1) / (cells / n)
        z2 = max(z2, student(n - 1) ** 2 * dispersion)
    low, high = (bound / reds for bound in _poisson(cells, z2))
    more = math.hypot(few[k], many[red])  # more of the cells, fewer red ones
    fewer = math.hypot(many[k], few[red])
    low, high = _widened(ratio, low, high, more, fewer)
    bounds = scale * low, scale * high
    return Quantity(name, unit, scale * ratio, None, *bounds, n, tally.kind)


def _widened(value, low, high, more, fewer):
    """An interval that holds an independent error of these shares of the value, too."""
    high = value + math.hypot(high - value, more * value)
    return max(0.0, value - math.hypot(value - low, fewer * value)), high


def _scaled(mean, factor):
    numbers = (
        None if value is None else value * factor
        for value in (mean.value, mean.sd, mean.low, mean.high)
    )
    return Quantity(mean.name, PER_MICROLITRE, *numbers, mean.fields, mean.kind)


def _rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _number(value):
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
