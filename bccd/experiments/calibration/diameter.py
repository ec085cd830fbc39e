"""The diameter that the red cells of a laboratory have in its images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bccd.counting.scale import CLOSE, ENOUGH_CELLS
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.export.magnification import Magnification

LEAST_FIELDS = 3  # with red cells, from which they show that the magnification is always the same
MOST_SPREAD = 1.2  # ratio of the diameter in a field and in all, up to which it is


class Diameter(NamedTuple):
    """What corrected fields show of the magnification.

    Attributes:
        expected: diameter of red cells in pixels, where the model should know it; or None.
        reason: why it should, or why not; a sentence.
    """

    expected: float | None
    reason: str


def laboratory_diameter(
    fields: Sequence[CorrectedField], magnification: Magnification | None
) -> Diameter:
    """The diameter of red cells in corrected fields, if all have the same.

    Args:
        fields: with marked cells.
        magnification: that the model knows; None: it is of no use to the model.
    """
    if magnification is None:
        return Diameter(None, "The model takes images as they are, whatever their magnification.")
    found = [field_diameter(field, magnification.red_cell) for field in fields]
    found = np.array([diameter for diameter in found if diameter is not None])
    if len(found) < LEAST_FIELDS:
        return Diameter(
            None, f"Fewer than {LEAST_FIELDS} fields have red cells to measure the magnification."
        )
    typical = float(np.median(found))
    if np.maximum(found / typical, typical / found).max() > MOST_SPREAD:
        return Diameter(
            None,
            f"Red cells are of {found.min():.0f} pixels in one field and of {found.max():.0f} in "
            "another: the magnification of each image is measured, as before.",
        )
    if 1 / CLOSE <= typical / magnification.likely <= CLOSE:
        return Diameter(
            None,
            f"Red cells are of {typical:.0f} pixels; the model looks for "
            f"{magnification.likely:.0f}, which is near enough.",
        )
    return Diameter(
        round(typical, 1),
        f"Red cells are of {typical:.0f} pixels, where the model looked for "
        f"{magnification.likely:.0f} first. It now looks for {typical:.0f} first, and goes on "
        "measuring each image: another objective is noticed.",
    )


def field_diameter(field: CorrectedField, red_cell: int) -> float | None:
    """Median diameter of the red cells of a field that its border does not cut, in pixels.

    None where they are too few.
    """
    height, width = field.annotated.height, field.annotated.width
    boxes = field.boxes[field.classes == red_cell]
    whole = (boxes[:, :2] > 1).all(axis=1) & (boxes[:, 2:] < (width - 1, height - 1)).all(axis=1)
    if whole.sum() < ENOUGH_CELLS:
        return None
    sides = boxes[whole, 2:] - boxes[whole, :2]
    return float(np.median(np.sqrt(sides.prod(axis=1))))
