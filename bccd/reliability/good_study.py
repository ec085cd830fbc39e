"""A small study with something of everything in it, from which broken ones are made."""

import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import update

from bccd import model_zoo
from bccd.data.synthetic import draw_smear
from bccd.detections import Detections
from bccd.study import Study, tables
from bccd.study.adding import IMAGES
from bccd.study.database import FILE
from bccd.study.decoder import Decoders
from bccd.study.field_list import COUNTED
from bccd.study.packing import pack
from bccd.study.recount import recount_field
from bccd.study.settings import ModelFacts, write_model

WHO = "Nguyễn Lan"
_NAMES = ("RBC", "WBC", "Platelets")
_MODEL = "models/lab"
_IMAGES = 3
_SIZE = (72, 96)  # height, width
_LOG = "SELECT number, field, who, at, kind, of, body FROM operations ORDER BY number"


def make_study(folder: Path, decoders: Decoders) -> None:
    """Write a study of three fields: one accepted, one corrected, one new.

    Args:
        folder: for it; there is nothing yet.
        decoders: that read its images.
    """
    with Study.open(folder, create=True) as study:
        own, study.pictures.decoders = study.pictures.decoders, decoders
        images = folder / IMAGES
        images.mkdir()
        for number in range(_IMAGES):
            cv2.imwrite(str(images / f"field {number}.png"), draw_smear(number, *_SIZE)[0])
        first, second, _ = study.add([images], WHO).ids
        for field in (first, second):
            _store_detections(study, field)
            study.thumbnail(field)
            study.tile(field, 0, 0, 0)
        _correct(study, first)
        _correct(study, second)
        _add_model(study)
        _edit(study, second, {"do": "accept"})
        study.undo(first, WHO)
        study.count(WHO)
        study.pictures.decoders = own


def open_study(folder: Path, decoders: Decoders) -> Study:
    """Open a study whose images are read by processes that outlive it.

    Close its database, not the study.
    """
    study = Study.open(folder)
    study.pictures.close()
    study.pictures.decoders = decoders
    return study


def copy_study(good: Path, folder: Path) -> None:
    """Copy a study that nobody has open."""
    shutil.copytree(good, folder)


def read_log(folder: Path) -> list[tuple] | None:
    """What was done by hand, without any of this program; None: SQLite itself cannot read it."""
    connection = sqlite3.connect(folder / FILE)
    try:
        return connection.execute(_LOG).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def _store_detections(study, field):
    boxes = np.array([[4, 4, 24, 24], [30, 30, 52, 50], [60, 10, 90, 40]], np.float32)
    found = Detections(_SIZE, boxes, np.array([0.9, 0.6, 0.2], np.float32), np.array([0, 0, 1]))
    row = {"status": COUNTED, "counting": 1, "diameter": 20.0, "scale": "measured"}
    row["counted_with"] = study.settings().of_detections
    with study.database.write() as connection:
        packed = pack(found, _NAMES)
        connection.execute(tables.detections.insert().values(field=field, packed=packed))
        which = tables.fields.c.id == field
        connection.execute(update(tables.fields).where(which).values(**row))
        recount_field(connection, field)


def _add_model(study):
    """One of the study's own, which it counts with from now on."""
    with study.database.write() as connection:
        card = model_zoo.load_card(model_zoo.DEFAULT_MODEL)
        write_model(connection, _MODEL, card=card, facts=ModelFacts(), made_here=True)
    study.change_settings(WHO, model=_MODEL)


def _correct(study, field):
    first = study.field(field).boxes[0].id
    _edit(study, field, {"do": "add", "name": "WBC", "box": [10, 40, 28, 60]})
    _edit(study, field, {"do": "move", "id": first, "box": [5, 5, 26, 26]})
    vertices = [[0, 0], [60, 0], [60, 60], [0, 60]]
    _edit(study, field, {"do": "add_region", "name": "R", "vertices": vertices})


def _edit(study, field, change):
    study.edit(field, WHO, [change], study.field(field).row.version)
