"""What a person did in a field, replayed over what the detector found there.

The log is replayed whenever a field is looked at, over whatever was found last: so a second
counting, by another model or other settings, overwrites nothing. One rule says which of the
detections a correction speaks for:

* A correction speaks for a place: the box of the cell that was moved, deleted, confirmed, given
  another class, or drawn. A detection lies at that place where both overlap by more than half
  (IoU), and no box that stood beside it then, and was left alone, overlaps the detection more.
* Detections at the place of a deleted cell do not show: found again, it stays deleted.
* Detections at the place of a box made by hand do not show: the box stays, once.
* A field that was accepted shows the boxes that it had then, and what was changed since; no
  threshold and no counting changes it, until it is opened again.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bccd.counting.tiles import overlap_of
from bccd.detections import Detections
from bccd.study.errors import StudyError

SAME = 0.5  # IoU above which two boxes are of one cell
_TIE = 1e-6  # of two boxes at the same place, the one of the same class is meant

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels


class Entry(NamedTuple):
    """An entry of the log of a field.

    Attributes:
        number: of the entry in the study.
        who, at: did it, and when (ISO, UTC).
        kind: "edit", "undo" or "redo".
        body: of an edit: ``asked``, what the person did, and ``changes`` of the state.
    """

    number: int
    who: str
    at: str
    kind: str
    body: dict

    @property
    def asked(self) -> list[dict]:
        """What the person did: ``do``, and ``name``, ``from`` and ``to`` where there are some."""
        return self.body.get("asked", [])

    @property
    def text(self) -> str:
        """As a few words."""
        prefix = "" if self.kind == "edit" else f"{self.kind} of: "
        words: dict[str, int] = {}
        for each in self.asked:
            words[_in_words(each)] = words.get(_in_words(each), 0) + 1
        return prefix + ", ".join(w if n == 1 else f"{w} ({n} times)" for w, n in words.items())


def _in_words(asked: Mapping[str, Any]) -> str:
    words = {
        "add": "added {name}",
        "move": "moved {name}",
        "delete": "deleted {name}",
        "class": "changed {from} to {to}",
        "confirm": "confirmed {name}",
        "accept": "accepted the field",
        "reopen": "opened the field again",
        "add_region": "drew the region {name}",
        "remove_region": "removed the region {name}",
    }
    return words[asked["do"]].format_map(asked)


class Place(NamedTuple):
    """A place for which a correction speaks.

    Attributes:
        name: class of the cell.
        box: of it.
        beside: class and box of what overlapped it by more than half, and was left alone.
    """

    name: str
    box: Corners
    beside: tuple[tuple[str, Corners], ...] = ()


class HandBox(NamedTuple):
    """A box that a person made, changed or confirmed.

    Attributes:
        place: where it is.
        score: of the detection that it was; None: drawn by hand.
        origin: "added", "changed" or "confirmed".
    """

    place: Place
    score: float | None
    origin: str


@dataclasses.dataclass
class State:
    """What the log of a field comes to.

    Attributes:
        hand: boxes by their ids.
        gone: places of cells that were deleted, or that became boxes of ``hand``.
        regions: {id: (name, vertices)}.
        accepted: who accepted the field and when; None: nobody has.
        active: entries that are not undone, in their order.
        undone: entries that a redo would bring back, the next one last.
        corrections: boxes that were added, moved, deleted, or given another class.
    """

    hand: dict[str, HandBox] = dataclasses.field(default_factory=dict)
    gone: list[Place] = dataclasses.field(default_factory=list)
    regions: dict[str, tuple[str, list]] = dataclasses.field(default_factory=dict)
    accepted: tuple[str, str] | None = None
    active: list[Entry] = dataclasses.field(default_factory=list)
    undone: list[Entry] = dataclasses.field(default_factory=list)

    @property
    def corrections(self) -> int:
        """Number of boxes that were added, moved, deleted, or given another class."""
        kinds = ("add", "move", "delete", "class")
        return sum(each["do"] in kinds for entry in self.active for each in entry.asked)

    def shows(self, found: Detections, class_names: Sequence[str]) -> np.ndarray:
        """Which detections (P,) no correction speaks for."""
        if self.accepted:
            return np.zeros(len(found), bool)
        places = [*self.gone, *(box.place for box in self.hand.values())]
        return ~lies_at(places, found, class_names)


def replay(log: Iterable[Entry]) -> State:
    """The state that the entries of a field lead to, in their order.

    Raises:
        StudyError: an entry is damaged.
    """
    active: list[Entry] = []
    undone: list[Entry] = []
    for entry in log:
        if entry.kind == "edit":
            active.append(entry)
            undone.clear()
        elif entry.kind == "undo" and active:
            undone.append(active.pop())
        elif entry.kind == "redo" and undone:
            active.append(undone.pop())
    state = State(active=active, undone=undone)
    for entry in active:
        try:
            for change in entry.body["changes"]:
                _apply(state, change, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"entry {entry.number} of the log is damaged: restore study.db from a copy"
            ) from error
    return state


def _apply(state, change, entry):
    match change["do"]:
        case "put":
            state.hand[change["id"]] = _hand_box(change)
        case "take":
            state.hand.pop(change["id"], None)
        case "hide":
            state.gone.append(_place(change))
        case "region":
            state.regions[change["id"]] = (change["name"], change["vertices"])
        case "no_region":
            state.regions.pop(change["id"], None)
        case "accept":
            state.hand = {each["id"]: _hand_box(each) for each in change["boxes"]}
            state.accepted = entry.who, entry.at
        case "reopen":
            state.accepted = None


def _place(change):
    beside = tuple((name, tuple(box)) for name, box in change.get("beside", ()))
    return Place(change["name"], tuple(change["box"]), beside)


def _hand_box(change):
    return HandBox(_place(change), change["score"], change["origin"])


def lies_at(places: Sequence[Place], found: Detections, class_names: Sequence[str]) -> np.ndarray:
    """Which detections (P,) lie at one of the places, by the rule of this module."""
    at = np.zeros(len(found), bool)
    if not places or not len(found):
        return at
    overlaps = iou(found.boxes, np.array([place.box for place in places]))
    names = np.array(class_names)[found.classes]
    at = ((overlaps > SAME) & [not place.beside for place in places]).any(axis=1)
    for place, overlap in zip(places, overlaps.T, strict=True):
        if place.beside:
            others = iou(found.boxes, np.array([box for _, box in place.beside]))
            others += _TIE * (names[:, None] == [name for name, _ in place.beside])
            closest = overlap + _TIE * (names == place.name) > others.max(axis=1)
            at |= (overlap > SAME) & closest
    return at


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union (P, Q) of boxes (P, 4) and (Q, 4), corners x1, y1, x2, y2."""
    boxes, others = np.asarray(boxes, float), np.asarray(others, float)
    shared, union = overlap_of(boxes[:, None], others)
    return shared / union.clip(1e-9)
