"""One field, as a page shows it."""

from typing import NamedTuple

from bccd.study.corrections import Entry
from bccd.study.field_list import FieldRow, to_field_row
from bccd.study.field_state import Box, Looked, Region


class Field(NamedTuple):
    """One field, with everything in it.

    Attributes:
        row: as the gallery shows it.
        boxes: the cells that count.
        hidden: detections whose score is below the threshold of their class.
        regions: that were drawn, with the cells in them.
        can_undo, can_redo: what would be undone, in words; None: nothing.
        history: the log, oldest first.
    """

    row: FieldRow
    boxes: list[Box]
    hidden: list[Box]
    regions: list[Region]
    can_undo: str | None
    can_redo: str | None
    history: list[Entry]


def describe(looked: Looked) -> Field:
    """Everything in a field that was looked at."""
    boxes, hidden = looked.boxes()
    state = looked.state
    return Field(
        to_field_row(looked.row),
        boxes,
        hidden,
        looked.regions(boxes),
        state.active[-1].text if state.active else None,
        state.undone[-1].text if state.undone else None,
        looked.log,
    )
