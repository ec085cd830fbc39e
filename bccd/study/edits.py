"""Corrections of a field: what a person asks for becomes an entry of its log."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from bccd.counting.detection_files import printable
from bccd.counting.regions.region import PolygonRegion, RegionError
from bccd.study import tables
from bccd.study.corrections import SAME, Corners, iou
from bccd.study.database import now
from bccd.study.errors import Conflict, StudyError
from bccd.study.field_state import Box, Looked

MOST_CHANGES = 5000  # of one entry
MOST_VERTICES = 5000
_LEAST_SIDE = 1.0  # pixels of a box
_FARTHEST = 1e9  # pixels


def append(
    connection: Connection,
    looked: Looked,
    who: str,
    kind: str,
    body: dict,
    of: int | None = None,
) -> None:
    """Add an entry to the log of a field."""
    connection.execute(
        tables.operations.insert().values(
            field=looked.row.id, who=who, at=now(), kind=kind, of=of, body=body
        )
    )


def resolve(looked: Looked, asked: Sequence[Mapping[str, Any]]) -> dict:
    """The body of an entry: what was asked for, and the changes of the state.

    Args:
        looked: the field as the person saw it.
        asked: see ``Study.edit``.

    Raises:
        StudyError: it cannot be done.
        Conflict: a box is not there.
    """
    if not isinstance(asked, Sequence) or isinstance(asked, str) or not asked:
        raise StudyError("nothing is to be changed")
    if len(asked) > MOST_CHANGES:
        raise StudyError(f"{len(asked)} changes at once: at most {MOST_CHANGES} can be made")
    session = _Session(looked)
    for each in asked:
        action = _ACTIONS.get(_text(each, "do")) if isinstance(each, Mapping) else None
        if action is None:
            raise StudyError(f"a change must be one of {', '.join(_ACTIONS)}")
        action(session, each)
    return {"asked": session.asked, "changes": session.changes}


class _Session:
    """The boxes of a field while changes are made to them one after another."""

    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        boxes, hidden = looked.boxes()
        self.boxes = {box.id: box for box in boxes}
        self.hidden = {box.id: box for box in hidden}
        self.regions = dict(looked.state.regions)
        self.asked: list[dict] = []
        self.changes: list[dict] = []
        self._numbers = itertools.count()

    def add(self, each):
        name, box = self._name(each), self._box(each)
        self.asked.append({"do": "add", "name": name})
        self._put(Box(self._new_id(), name, box, None, "added"))

    def move(self, each):
        old, box = self._find(each), self._box(each)
        self.asked.append({"do": "move", "name": old.name})
        self._replace(old, Box(old.id, old.name, box, old.score, _changed(old)))

    def rename(self, each):
        old, name = self._find(each), self._name(each)
        self.asked.append({"do": "class", "from": old.name, "to": name})
        self._replace(old, Box(old.id, name, old.box, old.score, _changed(old)))

    def confirm(self, each):
        old = self._find(each)
        origin = old.origin if old.origin != "detected" else "confirmed"
        self.asked.append({"do": "confirm", "name": old.name})
        self._replace(old, Box(old.id, old.name, old.box, old.score, origin))

    def delete(self, each):
        old = self._find(each)
        self.asked.append({"do": "delete", "name": old.name})
        self._take(old)

    def accept(self, each):
        # Nothing was found and nothing drawn: 0 cells would lower every mean of the study.
        if self.looked.row.status == "failed" and self.looked.found is None and not self.boxes:
            raise StudyError("the field could not be counted: draw its cells, or remove it")
        self.asked.append({"do": "accept"})
        renamed = {}
        for box in self.boxes.values():
            origin = "confirmed" if box.origin == "detected" else box.origin
            new = box._replace(id=self._new_id(), origin=origin)
            renamed[new.id] = new
        self.boxes = renamed
        self.changes.append({"do": "accept", "boxes": [self._put_of(b) for b in renamed.values()]})

    def reopen(self, each):
        if not self.looked.state.accepted:
            raise StudyError("the field is open already")
        self.asked.append({"do": "reopen"})
        self.changes.append({"do": "reopen"})

    def add_region(self, each):
        name = printable(_text(each, "name")).strip()[:80] or f"region {len(self.regions) + 1}"
        if not name.isprintable():
            raise StudyError("the name of a region has control characters")
        vertices = each.get("vertices")
        if not isinstance(vertices, Sequence) or not 3 <= len(vertices) <= MOST_VERTICES:
            raise StudyError(f"a region has 3 to {MOST_VERTICES} corners")
        width, height = self._size()
        try:
            corners = np.array(vertices, dtype=float)
            region = PolygonRegion.of_vertices(corners, name)
            region.check((height, width))
        except RegionError as error:
            raise StudyError(str(error)) from None
        except (TypeError, ValueError, OverflowError):
            raise StudyError("the corners of a region are pairs of numbers") from None
        key = self._new_id()
        self.asked.append({"do": "add_region", "name": name})
        change = {"do": "region", "id": key, "name": name, "vertices": corners.tolist()}
        self.changes.append(change)
        self.regions[key] = name, corners.tolist()

    def remove_region(self, each):
        key = _text(each, "id")
        if key not in self.regions:
            raise Conflict("the region is not there any more: look at the field again")
        name, _ = self.regions.pop(key)
        self.asked.append({"do": "remove_region", "name": name})
        self.changes.append({"do": "no_region", "id": key})

    def _replace(self, old, new):
        """Let a box of the person stand for another one."""
        if old.origin == "detected":
            self._hide(old)
            new = new._replace(id=self._new_id())
        self.boxes.pop(old.id, None)
        self.hidden.pop(old.id, None)
        self._put(new)

    def _take(self, old):
        self._hide(old)  # found there again, it stays deleted
        self.boxes.pop(old.id, None)
        self.hidden.pop(old.id, None)
        if old.origin != "detected":
            self.changes.append({"do": "take", "id": old.id})

    def _hide(self, old):
        change = {"do": "hide", "name": old.name, "box": list(old.box)}
        self.changes.append(change | {"beside": self._beside(old)})

    def _put(self, box):
        self.boxes[box.id] = box
        self.changes.append({"do": "put", **self._put_of(box)})

    def _put_of(self, box):
        about = {"id": box.id, "name": box.name, "box": list(box.box), "score": box.score}
        return about | {"origin": box.origin, "beside": self._beside(box)}

    def _beside(self, box):
        """Class and box of all others that count and overlap this one by more than half."""
        others = [other for other in self.boxes.values() if other.id != box.id]
        if not others:
            return []
        overlaps = iou([box.box], [other.box for other in others])[0]
        pairs = zip(others, overlaps.tolist(), strict=True)
        return [[other.name, list(other.box)] for other, overlap in pairs if overlap > SAME]

    def _new_id(self):
        """An id that no other box of the field has or had: the entries are only ever added to."""
        return f"h{len(self.looked.log)}.{next(self._numbers)}"

    def _find(self, each):
        key = _text(each, "id")
        box = self.boxes.get(key) or self.hidden.get(key)
        if box is None:
            raise Conflict("the box is not there any more: look at the field again")
        return box

    def _name(self, each):
        name = _text(each, "name")
        if name not in self.looked.class_names:
            known = ", ".join(self.looked.class_names)
            raise StudyError(f"there is no class {printable(name)[:80]!r}: the model has {known}")
        return name

    def _size(self):
        row = self.looked.row
        if not row.width or not row.height:
            raise StudyError("the image was not read yet, so its size is not known: count it first")
        return row.width, row.height

    def _box(self, each) -> Corners:
        width, height = self._size()
        box = each.get("box")
        is_box = isinstance(box, Sequence) and not isinstance(box, str) and len(box) == 4
        if not is_box or not all(_is_finite(value) for value in box):
            raise StudyError("a box has four numbers: left, top, right, bottom")
        left, right = (min(max(float(x), 0.0), width) for x in sorted((box[0], box[2])))
        top, bottom = (min(max(float(y), 0.0), height) for y in sorted((box[1], box[3])))
        if right - left < _LEAST_SIDE or bottom - top < _LEAST_SIDE:
            raise StudyError("the box has no area inside of the image: draw it larger")
        return tuple(round(value, 2) for value in (left, top, right, bottom))


def _changed(old):
    return old.origin if old.origin == "added" else "changed"


def _text(each, key):
    """The text of a key; empty where there is none."""
    value = each.get(key)
    return value if isinstance(value, str) else ""


def _is_finite(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -_FARTHEST < value < _FARTHEST  # nor NaN; an int may be any


_ACTIONS = {
    "add": _Session.add,
    "move": _Session.move,
    "delete": _Session.delete,
    "class": _Session.rename,
    "confirm": _Session.confirm,
    "accept": _Session.accept,
    "reopen": _Session.reopen,
    "add_region": _Session.add_region,
    "remove_region": _Session.remove_region,
}
