"""95% intervals of the counts of an image.

The number of cells of a class differs from the count for four reasons, each of which has a term:

* Of a detection with the calibrated probability ``p`` of being a cell nobody knows whether it is
  one: a variance of ``p (1 - p)``, for those that count and those that do not.
* Some cells are not even suspected: ``missed`` of them in the area of a red cell's diameter
  squared.
* Now and then a detection that seems sure is wrong, or two cells are found as one: ``unforeseen``,
  a variance for each cell that counts. In a field it hardly matters, in a smear it does.
* A laboratory as a whole is counted too low or too high: ``too_few`` and ``too_many``, shares of
  the count. They do not cancel out in a large field, as the others do.

So an interval fits a field of one cell and one of thousands. ``width`` says how far it reaches:
:mod:`bccd.counting.fit_intervals` chooses it by conformal prediction.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from bccd.detections import Detections

LEVEL = 0.95
Interval = tuple[int, int]
_EPSILON = 1e-9  # of counts: rounding does not cut off the integer that a bound is meant to be
_LEAST_SCORE = 1e-4  # lower ones, and those nearer to 1, are as far as a score's logit goes


@dataclasses.dataclass(frozen=True)
class CountIntervals:
    """What the intervals of a detector's counts are made of, by class index.

    Attributes:
        thresholds: score from which a detection counted when the rest was chosen.
        slope, offset: the probability that a detection is a cell is the logistic function of
            ``slope * logit(score) + offset``.
        missed: cells without any detection, in an area of a red cell's diameter squared.
        unforeseen: variance that the probabilities do not account for, of each cell that counts.
        too_few, too_many: by which share of the count the cells of the worst laboratory are
            counted too low and too high.
        width: of the interval, in standard deviations of what is left to chance.
        datasets: on which it was chosen, one of each laboratory.
    """

    thresholds: tuple[float, ...]
    slope: tuple[float, ...]
    offset: tuple[float, ...]
    missed: tuple[float, ...]
    unforeseen: tuple[float, ...]
    too_few: tuple[float, ...]
    too_many: tuple[float, ...]
    width: tuple[float, ...]
    datasets: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, values: Mapping[str, Sequence], class_names: Sequence[str], source: str
    ) -> "CountIntervals | None":
        """From the config node COUNTING.INTERVALS, or what :meth:`to_dict` gave.

        Args:
            values: by name in capitals or small letters.
            class_names: of the detector.
            source: of the values, for messages.

        Returns:
            None where there are none.

        Raises:
            ValueError: not one number for each class.
        """
        values = {key.lower(): tuple(value) for key, value in values.items()}
        names = [field.name for field in dataclasses.fields(cls) if field.name != "datasets"]
        numbers = {name: values.get(name, ()) for name in names}
        if not any(numbers.values()):
            return None
        for key, value in numbers.items():
            if len(value) != len(class_names) or not all(np.isfinite(value)):
                raise ValueError(
                    f"{source}: {key.upper()} is {value}; expected a number for each of "
                    f"{', '.join(class_names)}. tools/calibrate_intervals.py gives them"
                )
        return cls(**numbers, datasets=values.get("datasets", ()))

    def to_dict(self) -> dict[str, list]:
        """As a dict for JSON, and for the config node in capitals."""
        values = dataclasses.asdict(self).items()
        return {
            key: list(v) if key == "datasets" else [float(f"{x:.5g}") for x in v]
            for key, v in values
        }

    def apply_to(self, thresholds: Sequence[float]) -> bool:
        """Whether they were chosen for counts with these thresholds, by class index."""
        return np.allclose(self.thresholds, thresholds, atol=5e-5)

    def terms(self, found: Detections, area: float) -> "Terms":
        """What the interval of a field is computed from; terms of fields can be added up.

        Args:
            found: in the field, also with scores that do not count.
            area: of the field, relative to the square of its red cells' diameter.
        """

        def total(values):
            return np.bincount(found.classes, values, minlength=len(self.slope))

        scores = found.scores.astype(float).clip(_LEAST_SCORE, 1 - _LEAST_SCORE)
        slope, offset = (np.array(v)[found.classes] for v in (self.slope, self.offset))
        p = 1 / (1 + np.exp(-(slope * np.log(scores / (1 - scores)) + offset)))
        counted = total(found.scores >= np.array(self.thresholds, np.float32)[found.classes])
        missed = np.array(self.missed) * area
        variance = total(p * (1 - p)) + missed + np.array(self.unforeseen) * counted
        return Terms(counted, total(p) + missed, variance)

    def bounds(self, terms: "Terms") -> np.ndarray:
        """Least and largest numbers of cells, (2, K) int."""
        spread = np.array(self.width) ** 2 * terms.variance
        low = np.sqrt(spread + (np.array(self.too_many) * terms.counted) ** 2)
        high = np.sqrt(spread + (np.array(self.too_few) * terms.counted) ** 2)
        low = np.minimum(terms.counted, terms.expected) - low
        high = np.maximum(terms.counted, terms.expected) + high
        return np.array([np.ceil(low - _EPSILON).clip(0), np.floor(high + _EPSILON)]).astype(int)

    def __call__(self, found: Detections, area: float) -> list[Interval]:
        """The interval of each class; arguments as of :meth:`terms`."""
        return [(int(low), int(high)) for low, high in self.bounds(self.terms(found, area)).T]


@dataclasses.dataclass(frozen=True)
class Terms:
    """What is known of the cells in a field, by class index.

    Attributes:
        counted: (K,) cells that count.
        expected: (K,) cells that are expected, by the probabilities.
        variance: (K,) of their number.
    """

    counted: np.ndarray
    expected: np.ndarray
    variance: np.ndarray

    def __add__(self, other: "Terms") -> "Terms":
        """Of two fields together."""
        mine, its = dataclasses.astuple(self), dataclasses.astuple(other)
        return Terms(*(a + b for a, b in zip(mine, its, strict=True)))
