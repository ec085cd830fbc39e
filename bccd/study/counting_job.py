"""Counting the fields that wait for it, one after another, in the worker process.

Each step is one transaction: a field is marked as begun; what was found and the counts are stored
with its new status. A kill between the two lets the field be counted again.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import Row, delete, func, select, update

from bccd.counting.counter import CellCounter
from bccd.counting.field_info import FieldInfo
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.result import CountResult
from bccd.detections import Detections
from bccd.study import jobs, tables
from bccd.study.decoder import Source
from bccd.study.errors import StudyError
from bccd.study.field_list import COUNTED, FAILED, PENDING, RUNNING
from bccd.study.model_files import model_path
from bccd.study.packing import pack
from bccd.study.recount import recount_field
from bccd.study.settings import ModelFacts, Settings, write_model

if TYPE_CHECKING:
    from bccd.study.study import Study

_F = tables.fields.c


class _Read(NamedTuple):
    """A field whose image is being read."""

    id: int
    source: Source | None
    image: "Future[tuple[np.ndarray, float | None]]"


def count_pending(study: "Study", job: Row) -> str:
    """Count until no field waits, or the job is cancelled.

    Args:
        study: whose fields wait.
        job: of this work.

    Returns:
        the status that the job ends with.

    Raises:
        StudyError: the model cannot be used.
    """
    settings = study.settings()
    counter = load_counter(study, settings)
    with (
        study.pictures.decoders.one() as decoder,
        ThreadPoolExecutor(1) as reader,
        closing(_begun(study, decoder, reader)) as begun,
    ):
        for read in begun:
            if _count_one(study, counter, settings, read):
                reader.submit(study.make_pictures, read.id)
            if not _report(study, job):
                return jobs.CANCELLED
            if study.settings().of_detections != settings.of_detections:
                settings = study.settings()
                counter = load_counter(study, settings)
    return jobs.DONE


def load_counter(study: "Study", settings: Settings) -> CellCounter:
    """The counter of a study, whose model is noted.

    It has the thresholds of the model: those of the study are applied to what it finds.

    Raises:
        StudyError: the model cannot be used.
    """
    try:
        counter = CellCounter(
            model_path(study.folder, settings.model),
            border=settings.border,
            red_cell_diameter=settings.red_cell_diameter,
            micrometres_per_pixel=settings.micrometres_per_pixel,
        )
    except (OSError, ValueError, ImportError) as error:
        raise StudyError(f"the model {settings.model} cannot be used: {error}") from error
    facts = ModelFacts(
        counter.class_names,
        counter.class_colors,
        tuple(counter.thresholds.values()),
        counter.intervals and counter.intervals.to_dict(),
        counter.settings["model"],
    )
    with study.database.write() as connection:
        write_model(connection, settings.model, facts=facts)
    return counter


def _begun(study, decoder, reader) -> Iterator[_Read]:
    """Fields in their order, each marked as begun; the next image is read while one is counted."""
    ahead = _begin(study, decoder, reader)
    while ahead is not None:
        read, ahead = ahead, None
        read.image.exception()  # waits
        ahead = _begin(study, decoder, reader)
        yield read


def _begin(study, decoder, reader) -> _Read | None:
    with study.database.write() as connection:
        wanted = (_F.status == PENDING) & _F.removed.is_(False)
        field_id = connection.scalar(select(_F.id).where(wanted).order_by(_F.id).limit(1))
        if field_id is None:
            return None
        values = {"status": RUNNING, "attempts": _F.attempts + 1, "version": _F.version + 1}
        connection.execute(update(tables.fields).where(_F.id == field_id).values(**values))

    def read(source):
        return decoder.pixels(source)

    try:
        source = study.source(field_id)
    except StudyError as error:
        failed: Future = Future()
        failed.set_exception(error)
        return _Read(field_id, None, failed)
    return _Read(field_id, source, reader.submit(read, source))


def _count_one(study, counter, settings, read) -> bool:
    """Count a field and store the counts, or why there are none; whether it is counted."""
    try:
        image, stated = read.image.result()
        result, found = _count(counter, image, stated)
    except (StudyError, ImageError) as error:
        _fail(study, read.id, str(error))
        return False
    _store(study, settings, read.id, result, found)
    return True


def _count(counter, image, stated) -> tuple[CountResult, Detections]:
    with blame_image("cannot be counted", counter.check):
        info = FieldInfo(stated)
        return counter.detect_all(image, counter.prepare(image, info), info)


def _store(study, settings, field_id, result, found):
    height, width = result.size
    size = result.area.micrometres_per_pixel if result.area else None
    values = {
        "status": COUNTED,
        "error": None,
        "attempts": 0,
        "width": width,
        "height": height,
        "counting": _F.counting + 1,
        "counted_with": settings.of_detections,
        "trusted": result.intervals is not None,
        "notes": list(result.notes),
        "diameter": result.scale and float(result.scale.diameter),
        "scale": result.scale and result.scale.source,
        "micrometres_per_pixel": size,
    }
    with study.database.write() as connection:
        table = tables.detections
        connection.execute(delete(table).where(table.c.field == field_id))
        packed = pack(found, result.class_names)
        connection.execute(table.insert().values(field=field_id, packed=packed))
        connection.execute(update(tables.fields).where(_F.id == field_id).values(**values))
        recount_field(connection, field_id)


def _fail(study, field_id, sentence):
    values = {"status": FAILED, "error": sentence, "attempts": 0, "version": _F.version + 1}
    with study.database.write() as connection:
        connection.execute(update(tables.fields).where(_F.id == field_id).values(**values))


def _report(study, job) -> bool:
    """Note how far the job is; whether it shall go on."""
    with study.database.write() as connection:
        waiting = connection.scalar(
            select(func.count()).where(_F.status.in_((PENDING, RUNNING)), _F.removed.is_(False))
        )
        done = max(0, jobs.read_job(connection, job.id).total - waiting)
        total = done + waiting
        return jobs.report(connection, job.id, done, total, f"counted {done} of {total} fields")
