import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccd.detections import Detections
from bccd.study.corrections import Entry, Place, iou, lies_at, replay

NAMES = ("RBC", "WBC")


def found(*boxes, classes=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.array(classes or [0] * len(boxes))
    return Detections((100, 100), boxes, np.full(len(boxes), 0.9, np.float32), classes)


def put(key, box, name="RBC", origin="added", beside=()):
    about = {"id": key, "name": name, "box": box, "score": None, "origin": origin}
    return {"do": "put", **about, "beside": list(beside)}


def log(*bodies):
    """Entries of edits, or "undo" and "redo"."""
    kinds = [body if isinstance(body, str) else "edit" for body in bodies]
    contents = [{"asked": [], "changes": []} if isinstance(b, str) else b for b in bodies]
    return [
        Entry(i, "Lan", "2026", kind, content)
        for i, (kind, content) in enumerate(zip(kinds, contents, strict=True))
    ]


def edit(*changes):
    return {"asked": [{"do": "add", "name": "RBC"}], "changes": list(changes)}


def test_overlaps_of_boxes():
    boxes, others = [(0, 0, 10, 10), (0, 0, 0, 0)], [(0, 0, 10, 10), (5, 0, 15, 10)]
    assert iou(boxes, others) == pytest.approx(np.array([[1, 1 / 3], [0, 0]]))


def test_a_detection_at_the_place_of_a_deleted_cell_does_not_show():
    places = [Place("RBC", (0, 0, 10, 10))]
    near, far = (0, 0, 10, 12), (20, 0, 30, 10)
    assert lies_at(places, found(near, far), NAMES).tolist() == [True, False]


def test_what_stood_beside_a_deleted_cell_and_was_left_alone_shows():
    gone, kept = (0.0, 0.0, 10.0, 10.0), (3.0, 0.0, 13.0, 10.0)
    places = [Place("RBC", gone, (("RBC", kept),))]
    # Found again, a little beside: each belongs to the one that it overlaps more.
    again = found((0.5, 0, 10.5, 10), (2.5, 0, 12.5, 10))
    assert lies_at(places, again, NAMES).tolist() == [True, False]


def test_of_two_classes_in_one_box_the_one_that_was_deleted_is_gone():
    box = (0.0, 0.0, 10.0, 10.0)
    places = [Place("WBC", box, (("RBC", box),))]
    assert lies_at(places, found(box, box, classes=[0, 1]), NAMES).tolist() == [False, True]


def test_undo_and_redo_are_entries_of_the_log():
    first, second = edit(put("a", (0, 0, 9, 9))), edit(put("b", (20, 0, 29, 9)))
    assert set(replay(log(first, second)).hand) == {"a", "b"}
    assert set(replay(log(first, second, "undo")).hand) == {"a"}
    assert set(replay(log(first, second, "undo", "undo", "redo")).hand) == {"a"}
    third = edit(put("c", (40, 0, 49, 9)))
    state = replay(log(first, second, "undo", third, "redo"))  # nothing is left to redo
    assert set(state.hand) == {"a", "c"} and not state.undone


@given(st.lists(st.sampled_from(["edit", "undo", "redo"]), max_size=30))
def test_replaying_is_what_a_person_sees_step_by_step(steps):
    shown, ahead, bodies = [], [], []
    for number, step in enumerate(steps):
        if step == "edit":
            shown.append(str(number))
            ahead.clear()
            bodies.append(edit(put(str(number), (0, 0, 9, 9))))
            continue
        source, target = (shown, ahead) if step == "undo" else (ahead, shown)
        if source:
            target.append(source.pop())
        bodies.append(step)
    assert list(replay(log(*bodies)).hand) == shown


def test_an_accepted_field_shows_what_it_had():
    accept = {"do": "accept", "boxes": [put("a", (0, 0, 9, 9), origin="confirmed")]}
    state = replay(log(edit(accept)))
    assert state.accepted == ("Lan", "2026")
    assert not state.shows(found((50, 50, 60, 60)), NAMES).any()
    opened = replay(log(edit(accept), edit({"do": "reopen"})))
    assert opened.accepted is None
    shows = opened.shows(found((50, 50, 60, 60), (0, 0, 9, 9)), NAMES)
    assert shows.tolist() == [True, False]
