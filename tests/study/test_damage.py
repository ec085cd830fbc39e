"""Files of a study that something else wrote into: a sentence, and nothing by hand is lost."""

import shutil
import sqlite3

import pytest

from bccd.model_zoo import DEFAULT_MODEL
from bccd.study import StudyError


def change(study, statement, *values):
    with sqlite3.connect(study.folder / "study.db") as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE facts SET value = ? WHERE key = 'settings'", '{"model": '),
        ("UPDATE facts SET value = ? WHERE key = 'settings'", '{"nothing": 1}'),
        (f"REPLACE INTO models VALUES ('{DEFAULT_MODEL}', '', 0, ?, NULL)", '{"class_names": 5}'),
    ],
)
def test_values_that_are_damaged_are_said(study, field, statement, value):
    study.change_settings("Lan", border="inside")
    change(study, statement, value)
    with pytest.raises(StudyError, match=r"may be damaged\. Nothing was changed"):
        study.field(field)
    with pytest.raises(StudyError, match="may be damaged"):
        study.set_thresholds("Lan", {"RBC": 0.4})


def test_a_correction_of_what_is_not_there_is_said(study, field):
    box = {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]}
    study.edit(field, "Lan", [box], study.field(field).row.version)
    study.undo(field, "Lan")
    change(study, "UPDATE operations SET of = ? WHERE kind = 'undo'", 99)
    with pytest.raises(StudyError, match="damaged"):
        study.field(field)


def test_numbers_without_bound_are_no_fields(study):
    with pytest.raises(StudyError, match="larger than any"):
        study.field(10**30)


def test_a_file_in_the_place_of_pictures_is_said(study, field):
    folder = study.folder / "cache" / "tiles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / str(field)).touch()
    with pytest.raises(StudyError, match="pictures cannot be kept in"):
        study.tile(field, 0, 0, 0)
