"""Which fields of a run of ``bccd count`` somebody has corrected."""

from collections.abc import Sequence

import numpy as np

from bccd.detections import Detections
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.experiments.calibration.detected import above, is_unchanged

LEAST_FIELDS = 2  # one of them is held back


def corrected_alone(
    fields: Sequence[CorrectedField],
    found: Sequence[Detections],
    thresholds: np.ndarray,
    *,
    all_fields: bool,
) -> tuple[list[CorrectedField], list[Detections], int]:
    """Fields that somebody has corrected, what is found there, and how many others there are.

    A field whose cells are exactly those that the model counts comes from a run of ``bccd count``,
    and nothing tells whether anybody has looked at it. Such fields would only confirm the model.

    Args:
        fields: as they are named.
        found: in each, at any score.
        thresholds: (K,) scores from which the model counts.
        all_fields: keep all of them.
    """
    unchanged = [
        is_unchanged(above(each, thresholds), field)
        for each, field in zip(found, fields, strict=True)
    ]
    of_a_run = any(same and len(field.boxes) for same, field in zip(unchanged, fields, strict=True))
    if all_fields or not of_a_run:
        return list(fields), list(found), 0
    kept = [i for i, same in enumerate(unchanged) if not same]
    return [fields[i] for i in kept], [found[i] for i in kept], len(fields) - len(kept)


def too_few(data: str, count: int, unchanged: int, left_out: Sequence[str]) -> str:
    """Why a calibration is refused on so few different fields."""
    text = f"{data} has {count or 'no'} different corrected fields"
    if unchanged:
        text += (
            f"; {unchanged} others have exactly the cells that the model counts (add --all-fields "
            "if they were looked at and are right)"
        )
    if left_out:
        text += f"; left out: {left_out[0]}"
    return f"{text}. At least {LEAST_FIELDS} are needed, and ten are good."
