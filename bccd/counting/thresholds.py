"""Score thresholds from which detections count as cells."""

import logging
from collections.abc import Mapping, Sequence

from bccd.detections import DEFAULT_THRESHOLD
from bccd.suggestions import did_you_mean

logger = logging.getLogger(__name__)


def thresholds_by_class(
    class_names: Sequence[str],
    operating_points: Mapping[str, float] | None,
    wanted: float | Mapping[str, float] | None = None,
) -> dict[str, float]:
    """The score threshold of each class.

    Args:
        class_names: of the detector.
        operating_points: {class name: score} that come with it, or None.
        wanted: one score for all classes, or scores by class name; the others keep theirs.

    Returns:
        {class name: score}, in the order of ``class_names``.

    Raises:
        ValueError: a class that the detector has not, or what is no score from 0 to 1.
    """
    if isinstance(wanted, Mapping):
        for name in wanted:
            if name not in class_names:
                raise ValueError(
                    f"threshold of {name}: the detector has the classes {', '.join(class_names)}."
                    f"{did_you_mean(str(name), class_names)}"
                )
    elif wanted is not None:
        wanted = dict.fromkeys(class_names, wanted)
    chosen = {name: _score(value, name) for name, value in (wanted or {}).items()}
    if missing := [name for name in class_names if name not in chosen]:
        if operating_points is None:
            logger.warning(
                "The detector has no operating points: every detection of "
                f"{', '.join(missing)} with a score of at least {DEFAULT_THRESHOLD} counts. Choose "
                "another threshold."
            )
            operating_points = dict.fromkeys(class_names, DEFAULT_THRESHOLD)
        chosen |= {name: operating_points[name] for name in missing}
    return {name: chosen[name] for name in class_names}


def _score(value, name):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:  # nor NaN
        raise ValueError(f"the threshold of {name} is {value!r}; expected a score from 0 to 1")
    return float(value)
