"""A field as it is now: what was found, what was done by hand, and the counts of both."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, select

from bccd.counting.border import keep_by_border
from bccd.counting.intervals import CountIntervals, Terms
from bccd.counting.regions.region import PolygonRegion
from bccd.detections import Detections
from bccd.study import tables
from bccd.study.corrections import Corners, Entry, State, replay
from bccd.study.packing import unpack
from bccd.study.settings import ModelFacts, Settings

DETECTED = "detected"


class Box(NamedTuple):
    """A cell in a field.

    Attributes:
        id: for corrections; it is another one after a second counting.
        name: of its class.
        box: x1, y1, x2, y2 in pixels.
        score: of the detection; None: drawn by hand.
        origin: "detected", or, by a person, "confirmed", "changed" or "added".
    """

    id: str
    name: str
    box: Corners
    score: float | None
    origin: str


class Region(NamedTuple):
    """A region that was drawn in a field.

    Attributes:
        id: for corrections.
        name: of the region.
        vertices: (V, 2) x, y in pixels.
        counts: {class name: cells whose centre lies inside}.
        pixels: its area.
    """

    id: str
    name: str
    vertices: list[list[float]]
    counts: dict[str, int]
    pixels: float


@dataclasses.dataclass
class Looked:
    """A field, looked at.

    Attributes:
        row: of the table ``fields``.
        class_names: of the present model, and of boxes that were made by hand.
        found: what may count by its place; None: it is not counted yet.
        found_names: classes of ``found``.
        state: what was done by hand.
        log: entries.
        settings, facts: of the study, and its model.
    """

    row: Row
    class_names: tuple[str, ...]
    found: Detections | None
    found_names: tuple[str, ...]
    state: State
    log: list[Entry]
    settings: Settings
    facts: ModelFacts

    def shown(self) -> np.ndarray:
        """Which of ``found`` (P,) no correction speaks for."""
        return self.state.shows(self.found, self.found_names)

    def above(self) -> np.ndarray:
        """Which of ``found`` (P,) reach the threshold of their class."""
        scores = [self.facts.threshold(name, self.settings) for name in self.found_names]
        return self.found.scores >= np.array(scores, np.float32)[self.found.classes]

    def boxes(self) -> tuple[list[Box], list[Box]]:
        """What counts, and the detections that are below their threshold, highest score first."""
        hand = [
            Box(key, each.place.name, each.place.box, each.score, each.origin)
            for key, each in self.state.hand.items()
        ]
        if self.found is None:
            return hand, []
        shown, above = self.shown(), self.above()
        counted, hidden = (self._detected(shown & which) for which in (above, ~above))
        return counted + hand, hidden

    def of_model(self) -> list[Box]:
        """What would count without any correction, highest score first."""
        return [] if self.found is None else self._detected(self.above())

    def _detected(self, which):
        order = np.flatnonzero(which)
        order = order[np.argsort(-self.found.scores[order], kind="stable")]
        boxes, scores = self.found.boxes.tolist(), self.found.scores.tolist()
        names = [self.found_names[k] for k in self.found.classes.tolist()]
        number = self.row.counting
        return [
            Box(f"d{number}.{i}", names[i], tuple(boxes[i]), round(scores[i], 6), DETECTED)
            for i in order.tolist()
        ]

    def regions(self, boxes: Sequence[Box]) -> list[Region]:
        """The regions that were drawn, with the cells in them."""
        centres = np.array([_centre(box.box) for box in boxes]).reshape(-1, 2)
        drawn = []
        for key, (name, vertices) in self.state.regions.items():
            region = PolygonRegion.of_vertices(np.array(vertices), name)
            inside = region.contains(centres)
            cells = [box for box, is_in in zip(boxes, inside, strict=True) if is_in]
            size = self.row.width or 0, self.row.height or 0
            area = region.area_in((0, 0, *size))
            drawn.append(Region(key, name, vertices, count(cells, self.class_names), area))
        return drawn

    def materialised(self) -> dict:
        """What the row of the table ``fields`` says of the counts."""
        counted, by_hand = self.found is not None, self.state.hand.values()
        counts = dict.fromkeys(self.class_names, 0)
        model = dict(counts) if counted else None
        if counted:
            above, shown = self.above(), self.shown()
            self._add_up(counts, above & shown)
            self._add_up(model, above)
        for each in by_hand:
            counts[each.place.name] += 1
        by, at = self.state.accepted or (None, None)
        known = counted or by_hand or by
        return {
            "counts": counts if known else None,
            "model_counts": model,
            "intervals": self._intervals() if counted else None,
            "corrected": self.state.corrections,
            "reviewed_by": by,
            "reviewed_at": at,
        }

    def _add_up(self, counts, which):
        numbers = np.bincount(self.found.classes[which], minlength=len(self.found_names))
        for name, number in zip(self.found_names, numbers.tolist(), strict=True):
            counts[name] += number

    def _intervals(self):
        """{class: [least, most]}; None where there are none, or a person has counted the field."""
        facts, found = self.facts, self.found
        scores = [facts.threshold(name, self.settings) for name in facts.class_names]
        if self.state.accepted or not self.row.trusted or self.found_names != facts.class_names:
            return None
        intervals = CountIntervals.of(facts.count_intervals or {}, facts.class_names, "the model")
        if intervals is None or not intervals.apply_to(scores):
            return None
        area = found.image_size[0] * found.image_size[1] / self.row.diameter**2
        terms = intervals.terms(found[self.shown()], area)
        names = [each.place.name for each in self.state.hand.values()]
        if not set(names) <= set(facts.class_names):
            return None
        sure = np.array([names.count(name) for name in facts.class_names], float)
        low, high = intervals.bounds(terms + Terms(sure, sure, 0 * sure)).tolist()
        return {name: [low[k], high[k]] for k, name in enumerate(facts.class_names)}


def look(
    row: Row, settings: Settings, facts: ModelFacts, log: list[Entry], packed: bytes | None
) -> Looked:
    """A field as it is now.

    Args:
        row: of the field.
        settings, facts: of the study, and its model.
        log: entries of the field.
        packed: what was found, as the table ``detections`` has it; None: nothing yet.
    """
    state = replay(log)
    found, names = None, facts.class_names
    if packed is not None:
        names, found = unpack(packed)
        found = keep_by_border(found, settings.border, row.diameter)
    of_hand = (each.place.name for each in state.hand.values())
    class_names = tuple(dict.fromkeys([*facts.class_names, *names, *of_hand]))
    return Looked(row, class_names, found, names, state, log, settings, facts)


def read_log(connection: Connection, field: int) -> list[Entry]:
    """The entries of a field, in their order; an undo or redo has the body of what it is of."""
    return read_logs(connection, tables.operations.c.field == field).get(field, [])


def read_logs(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[Entry]]:
    """The entries of fields by their numbers, see :func:`read_log`; ``which``: a condition."""
    table = tables.operations
    rows = connection.execute(select(table).where(which).order_by(table.c.number))
    bodies: dict[int, dict] = {}
    logs: dict[int, list[Entry]] = {}
    for row in rows:
        body = bodies[row.of] if row.of is not None else row.body
        bodies[row.number] = row.body
        entry = Entry(row.number, row.who, row.at, row.kind, body)
        logs.setdefault(row.field, []).append(entry)
    return logs


def read_packed(connection: Connection, field: int) -> bytes | None:
    """What was found in a field; None: it was never counted."""
    table = tables.detections
    return connection.scalar(select(table.c.packed).where(table.c.field == field))


def count(boxes: Sequence[Box], class_names: Sequence[str]) -> dict[str, int]:
    """{class name: number of boxes}."""
    numbers = dict.fromkeys(class_names, 0)
    for box in boxes:
        numbers[box.name] += 1
    return numbers


def _centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
