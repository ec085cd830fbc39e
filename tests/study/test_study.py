import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from studies import Detector, count, draw, new_study, use_detector

from bccd.study import Conflict, Study, StudyError, edits, tables
from bccd.study.database import write_fact


def boxes_of(study, field):
    return {(box.name, box.box, box.origin) for box in study.field(field).boxes}


def edit(study, field, *changes, who="Lan"):
    return study.edit(field, who, list(changes), study.field(field).row.version)


def middle(box):
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def test_a_study_is_the_same_after_it_was_closed(tmp_path, study, field):
    edit(study, field, {"do": "add", "name": "WBC", "box": [1, 2, 30, 40]})
    before = study.field(field), study.fields(), study.totals(), study.settings()
    study.close()
    with Study.open(study.folder) as again:
        assert (again.field(field), again.fields(), again.totals(), again.settings()) == before


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match="holds no study"):
        Study.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="is a file"):
        Study.open(tmp_path / "file", create=True)
    (tmp_path / "study.db").write_bytes(b"no database" * 500)
    with pytest.raises(StudyError, match="cannot be opened"):
        Study.open(tmp_path)
    with pytest.raises(StudyError, match="no URL that SQLAlchemy knows"):
        Study.open(tmp_path, database="nonsense")


def test_a_study_of_a_newer_version_is_refused(study):
    with study.database.write() as connection:
        write_fact(connection, "schema", tables.SCHEMA + 1)
    study.close()
    with pytest.raises(StudyError, match="newer version of this program"):
        Study.open(study.folder)


def test_counts_follow_each_correction(study, field):
    assert study.field(field).row.counts["RBC"] == 12
    box = study.field(field).boxes[0]
    assert edit(study, field, {"do": "delete", "id": box.id}).row.counts["RBC"] == 11
    box = study.field(field).boxes[0]
    renamed = edit(study, field, {"do": "class", "id": box.id, "name": "WBC"})
    assert renamed.row.counts == {"RBC": 10, "WBC": 1, "Platelets": 0}
    added = edit(study, field, {"do": "add", "name": "Platelets", "box": [5, 5, 20, 20]})
    assert added.row.counts == {"RBC": 10, "WBC": 1, "Platelets": 1}
    assert added.row.model_counts["RBC"] == 12 and added.row.corrected == 3
    low, high = added.row.intervals["Platelets"]
    assert low >= 1 and high >= 1  # a person has seen that one
    moved = edit(study, field, {"do": "move", "id": added.boxes[-1].id, "box": [25, 5, 5, 20]})
    assert moved.boxes[-1].box == (5, 5, 25, 20) and moved.boxes[-1].origin == "added"
    assert study.totals().counts == moved.row.counts


def test_several_changes_are_undone_as_one(study, field):
    before = boxes_of(study, field)
    ids = [box.id for box in study.field(field).boxes]
    edit(study, field, *({"do": "delete", "id": each} for each in ids))
    assert study.field(field).row.counts["RBC"] == 0
    assert study.field(field).can_undo == "deleted RBC (12 times)"
    assert boxes_of(study, field) == set()
    undone = study.undo(field, "Minh")
    assert boxes_of(study, field) == before and undone.can_undo is None
    assert study.redo(field, "Minh").row.counts["RBC"] == 0
    with pytest.raises(StudyError, match="nothing to redo"):
        study.redo(field, "Minh")
    history = study.field(field).history
    assert [(entry.who, entry.kind) for entry in history] == [
        ("Lan", "edit"),
        ("Minh", "undo"),
        ("Minh", "redo"),
    ]


def test_a_second_counting_overwrites_nothing_that_was_done_by_hand(study, field, detector):
    boxes = study.field(field).boxes
    gone, moved, renamed = boxes[0], boxes[1], boxes[2]
    place = [500, 200, 560, 260]
    edit(
        study,
        field,
        {"do": "delete", "id": gone.id},
        {"do": "move", "id": moved.id, "box": place},
        {"do": "class", "id": renamed.id, "name": "WBC"},
        {"do": "add", "name": "Platelets", "box": [300, 300, 310, 310]},
    )
    before = {(b.name, b.box) for b in study.field(field).boxes if b.origin != "detected"}
    counts = study.field(field).row.counts
    detector.shift = 5.0  # every cell is found again, a little beside
    study.count("Lan", [field])
    from bccd.study.worker import work

    work(study, until_idle=True)
    after = study.field(field)
    assert {(b.name, b.box) for b in after.boxes if b.origin != "detected"} == before
    assert after.row.counts == counts
    centres = np.array([middle(b.box) for b in after.boxes if b.name == "RBC"])
    assert np.abs(centres - middle(gone.box)).max(axis=1).min() > 50  # stays deleted
    with study.database.read() as connection:
        assert study.row(connection, field).counting == 2


def test_a_box_by_hand_hides_what_is_found_there_below_the_threshold(study, field):
    study.set_thresholds("Lan", {"RBC": 0.9})
    shown = study.field(field)
    weak = shown.hidden[0]
    drawn = edit(study, field, {"do": "add", "name": "RBC", "box": list(weak.box)})
    assert drawn.row.counts["RBC"] == shown.row.counts["RBC"] + 1
    study.set_thresholds("Lan", {})
    assert study.field(field).row.counts["RBC"] == 12  # not 13


def test_thresholds_recount_at_once_but_not_accepted_fields(tmp_path, detector):
    with new_study(tmp_path, 2) as study:
        count(study)
        first, second = (row.id for row in study.fields().rows)
        accepted = edit(study, first, {"do": "accept"})
        assert accepted.row.reviewed_by == "Lan" and accepted.row.intervals is None
        study.set_thresholds("Lan", {"RBC": 0.9})
        assert study.field(first).row.counts["RBC"] == 12
        assert 0 < study.field(second).row.counts["RBC"] < 12
        assert study.field(second).row.intervals is None  # chosen for other thresholds
        count(study, [first, second])
        assert study.field(first).row.counts["RBC"] == 12
        assert study.totals().reviewed == 1
        opened = edit(study, first, {"do": "reopen"})
        assert opened.row.reviewed_by is None and opened.row.counts["RBC"] == 12
        study.set_thresholds("Lan", {})
        assert study.field(second).row.intervals is not None


def test_cells_on_the_border_count_as_the_settings_say(study, field):
    before = study.field(field).row
    box = study.field(field).boxes[0]
    edge = [before.width - 30, 10, before.width, 40]
    edit(study, field, {"do": "move", "id": box.id, "box": edge})
    study.change_settings("Lan", border="inside")
    assert study.field(field).row.counts["RBC"] == 12  # what a person drew counts
    with pytest.raises(StudyError, match="border is 'none'"):
        study.change_settings("Lan", border="none")
    with pytest.raises(StudyError, match="no model"):
        study.change_settings("Lan", model="/etc/passwd")


def test_somebody_else_was_faster(study, field):
    version = study.field(field).row.version
    boxes = study.field(field).boxes
    study.edit(field, "Lan", [{"do": "delete", "id": boxes[0].id}], version)
    with pytest.raises(Conflict):
        study.edit(field, "Minh", [{"do": "delete", "id": boxes[1].id}], version)
    with pytest.raises(Conflict):
        edit(study, field, {"do": "delete", "id": boxes[0].id})
    assert study.field(field).row.counts["RBC"] == 11


@pytest.mark.parametrize(
    "change",
    [
        {"do": "add", "name": "RBC", "box": [1, 1, 1, 1]},
        {"do": "add", "name": "RBC", "box": [float("nan"), 1, 20, 20]},
        {"do": "add", "name": "RBC", "box": [-50, -50, -10, -10]},
        {"do": "add", "name": "RBC", "box": "1234"},
        {"do": "add", "name": "RBC"},
        {"do": "add", "name": "Cells", "box": [1, 1, 20, 20]},
        {"do": "add", "name": ["RBC"], "box": [1, 1, 20, 20]},
        {"do": "delete"},
        {"do": "drop table fields"},
        {"do": "add_region", "vertices": [[0, 0], [1, 1]]},
        {"do": "add_region", "vertices": [[0, 0], [10, 10], [10, 0], [0, 10]]},
        {"do": "add_region", "vertices": [["a", 0], [10, 10], [10, 0]]},
        {"do": "add_region", "vertices": [[0, 0], [10**7, 0], [10, 10]]},
        {"do": "remove_region", "id": "h0.0"},
        {"do": "reopen"},
        {"do": ["add"]},
        {"do": "delete", "id": [1]},
        {"do": "add", "name": "RBC", "box": [10**400, 1, 20, 20]},
        {"do": "add_region", "vertices": [[10**400, 0], [10, 10], [10, 0]]},
        {"do": "add_region", "name": "a\nb", "vertices": [[0, 0], [9, 9], [9, 0]]},
        "delete",
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(study, field, change):
    before = study.field(field)
    with pytest.raises(StudyError):
        study.edit(field, "Lan", [change], before.row.version)
    assert study.field(field) == before


@pytest.mark.parametrize("who", ["", "   ", "a" * 81, "Lan\n", "\u202eLan", None])
def test_a_person_has_a_name(study, field, who):
    change = [{"do": "add", "name": "RBC", "box": [1, 1, 20, 20]}]
    if who == "Lan\n":  # spaces around a name are none of it
        study.edit(field, who, change, study.field(field).row.version)
        return
    with pytest.raises(StudyError, match="say who you are"):
        study.edit(field, who, change, study.field(field).row.version)


def test_counts_in_a_region_add_up(study, field):
    row = study.field(field).row
    half = row.width / 2
    left = [[0, 0], [half, 0], [half, row.height], [0, row.height]]
    right = [[half, 0], [row.width, 0], [row.width, row.height], [half, row.height]]
    drawn = edit(
        study,
        field,
        {"do": "add_region", "name": "left", "vertices": left},
        {"do": "add_region", "name": "right", "vertices": right},
    )
    assert [region.counts["RBC"] for region in drawn.regions] == [6, 6]
    assert sum(region.pixels for region in drawn.regions) == row.width * row.height
    deleted = edit(study, field, {"do": "delete", "id": drawn.boxes[0].id})
    assert sum(region.counts["RBC"] for region in deleted.regions) == 11
    removed = edit(study, field, {"do": "remove_region", "id": drawn.regions[0].id})
    assert [region.name for region in removed.regions] == ["right"]


def test_the_next_uncertain_cell_has_the_lowest_score(study, field):
    scores, after = [], None
    while box := study.next_uncertain(field, after):
        scores.append(box.score)
        after = box.id
    assert len(scores) == 12 and scores == sorted(scores)
    first = study.next_uncertain(field)
    edit(study, field, {"do": "confirm", "id": first.id})
    assert study.next_uncertain(field).score >= first.score
    assert study.field(field).row.corrected == 0  # nothing was wrong
    edit(study, field, {"do": "accept"})
    assert study.next_uncertain(field) is None


def test_removed_fields_come_back_as_they_were(study, field):
    before = study.field(field)
    study.remove([field], "Lan")
    assert study.fields().total == 0 and study.totals().fields == 0
    study.restore([field], "Lan")
    assert study.field(field) == before


def test_lists_are_sorted_filtered_and_paged(tmp_path, detector):
    with new_study(tmp_path, 5) as study:
        count(study)
        ids = [row.id for row in study.fields().rows]
        for number, field in enumerate(ids):
            boxes = study.field(field).boxes[:number]
            if boxes:
                edit(study, field, *({"do": "delete", "id": box.id} for box in boxes))
        edit(study, ids[2], {"do": "accept"})
        by_count = study.fields(sort="count:RBC", limit=2, offset=1)
        assert [row.counts["RBC"] for row in by_count.rows] == [9, 10] and by_count.total == 5
        down = study.fields(sort="corrected", descending=True).rows
        assert [row.corrected for row in down] == [4, 3, 2, 1, 0]
        assert [row.id for row in study.fields(text="FIELD 3").rows] == [ids[3]]
        assert study.fields(text="%").total == 0
        assert [row.id for row in study.fields(reviewed=True).rows] == [ids[2]]
        assert study.fields(noted=True).total + study.fields(noted=False).total == 5
        assert study.fields(status="failed").rows == []
        # Fields without a value come last, either way.
        assert study.fields(sort="reviewed").rows[0].id == ids[2]
        assert study.fields(sort="reviewed", descending=True).rows[0].id == ids[2]
        for wrong in ({"sort": "path"}, {"sort": 'count:"'}, {"status": "odd"}):
            with pytest.raises(StudyError):
                study.fields(**wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["do", "id", "name", "box", "vertices"]), inner)
    ),
    max_leaves=12,
)
ACTIONS = sorted(edits._ACTIONS)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(
        JSON
        | st.builds(
            lambda a, b: {**b, "do": a},
            st.sampled_from(ACTIONS),
            st.dictionaries(st.sampled_from(["id", "name", "box", "vertices"]), JSON),
        ),
        max_size=3,
    )
)
def test_whatever_is_asked_for_there_is_a_sentence(study, field, changes):
    before = study.field(field).row.version
    try:
        study.edit(field, "Lan", changes, before)
    except StudyError as error:
        assert str(error) and "Traceback" not in str(error)
    study.field(field)


def test_every_change_has_a_number(study, field):
    numbers = [study.change_number()]
    edit(study, field, {"do": "add", "name": "RBC", "box": [1, 1, 20, 20]})
    numbers.append(study.change_number())
    study.set_thresholds("Lan", {"RBC": 0.5})
    numbers.append(study.change_number())
    assert numbers == sorted(set(numbers))


def test_many_people_correct_at_once(tmp_path, detector):
    with new_study(tmp_path, 2) as study:
        count(study)
        ids, failures = [row.id for row in study.fields().rows], []

        def correct(who):
            for number in range(5):
                while True:
                    try:
                        box = [10 * number, 5, 10 * number + 9, 14]
                        edit(study, ids[number % 2], {"do": "add", "name": "WBC", "box": box})
                        break
                    except Conflict:
                        continue
                    except Exception as error:
                        failures.append(error)
                        return

        threads = [threading.Thread(target=correct, args=(str(i),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert study.totals().counts["WBC"] == 20


def test_pictures_are_kept_and_tiles_cover_the_field(study, field):
    import cv2

    levels = study.levels(field)
    row = study.field(field).row
    assert (levels[0].width, levels[0].height) == (row.width, row.height)
    first = cv2.imdecode(np.frombuffer(study.tile(field, 0, 0, 0), np.uint8), cv2.IMREAD_COLOR)
    last = levels[0].columns - 1, levels[0].rows - 1
    edge = cv2.imdecode(np.frombuffer(study.tile(field, 0, *last), np.uint8), cv2.IMREAD_COLOR)
    assert 512 * last[0] + edge.shape[1] == row.width
    assert first.shape[0] == min(512, row.height)
    assert study.thumbnail(field) == study.thumbnail(field)
    for wrong in ((9, 0, 0), (0, -1, 0), (0, 99, 0)):
        with pytest.raises(StudyError, match="no tile"):
            study.tile(field, *wrong)
    with pytest.raises(StudyError, match="no field"):
        study.thumbnail(field + 1)


def test_pages_of_a_tiff_are_fields(tmp_path, detector):
    import tifffile

    folder = tmp_path / "fields"
    folder.mkdir()
    image = draw(tmp_path / "drawn")[0]
    import cv2

    pixels = cv2.imread(str(image))
    tifffile.imwrite(folder / "two.tif", np.stack([pixels, pixels]), photometric="rgb")
    with Study.open(tmp_path / "study", create=True) as study:
        study.allow_folder(folder)
        assert len(study.add([folder], "Lan").ids) == 2
        count(study)
        assert [row.name for row in study.fields().rows] == ["two.tif#1", "two.tif#2"]
        assert study.totals().counts["RBC"] == 24
        again = study.add([folder], "Lan")
        assert again.ids == [] and "already" in again.refused[0][1]


def test_5000_fields_are_listed_at_once(tmp_path, detector):
    import time

    with new_study(tmp_path) as study:
        count(study)
        with study.database.write() as connection:
            row = dict(study.row(connection, 1)._mapping)
            rows = [{**row, "id": number, "name": f"f {number}"} for number in range(2, 5001)]
            connection.execute(tables.fields.insert(), rows)
        start = time.perf_counter()
        page = study.fields(sort="count:RBC", limit=5000)
        study.totals()
        assert page.total == len(page.rows) == 5000
        assert time.perf_counter() - start < 2


def test_damaged_detections_are_said(study, field):
    with study.database.write() as connection:
        connection.execute(update(tables.detections).values(packed=b"no arrays"))
    with pytest.raises(StudyError, match="detections of a field are damaged"):
        study.field(field)


def test_a_damaged_log_is_said(study, field):
    edit(study, field, {"do": "add", "name": "RBC", "box": [1, 1, 20, 20]})
    for body in ({"asked": []}, {"changes": [{"do": "put"}]}, {"changes": 5}):
        with study.database.write() as connection:
            connection.execute(update(tables.operations).values(body=body))
        with pytest.raises(StudyError, match="entry 1 of the log is damaged"):
            study.field(field)


def test_detectors_of_other_classes_leave_boxes_of_the_old_ones(study, field, monkeypatch):
    edit(study, field, {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]})

    class Cells(Detector):
        class_names, class_colors = ("RBC",), ((200, 70, 0),)
        counting_thresholds, count_intervals = {"RBC": 0.3}, None

    use_detector(monkeypatch, Cells())
    count(study, [field])
    counts = study.field(field).row.counts
    assert counts == {"RBC": 12, "WBC": 1}
