"""What the worker process is asked to do, in a table, so that it outlives any process."""

import os
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, func, select, update

from bccd.study import tables
from bccd.study.database import note_event, now
from bccd.study.errors import StudyError
from bccd.study.field_list import COUNTED, FAILED, NEW, PENDING, RUNNING
from bccd.study.names import check_model_name
from bccd.study.settings import read_settings

COUNT, RETRAIN = "count", "retrain"
WAITING, AT_WORK, DONE, BROKEN, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
SILENT = 60.0  # seconds after which a worker on another machine is taken for dead
_J, _F = tables.jobs.c, tables.fields.c
_MOST_LISTED = 100
MOST_ATTEMPTS = 5  # to count a field, of workers that ended while they did


class Job(NamedTuple):
    """What the worker process was asked to do.

    Attributes:
        id: of it.
        kind: "count" or "retrain".
        status: "waiting", "running", "done", "failed" or "cancelled".
        done, total: parts of it; total is 0 where they are not known yet.
        message: what it is at, or why it failed, a sentence.
        result: of a retraining, see :mod:`bccd.study.retraining`.
        who: asked for it.
        created, finished: ISO, UTC; None: not yet.
    """

    id: int
    kind: str
    status: str
    done: int
    total: int
    message: str
    result: dict | None
    who: str
    created: str
    finished: str | None


def _to_job(row: Row) -> Job:
    return Job(*(row._mapping[name] for name in Job._fields))


def list_jobs(connection: Connection) -> list[Job]:
    """Newest first."""
    rows = connection.execute(select(tables.jobs).order_by(_J.id.desc()).limit(_MOST_LISTED))
    return [_to_job(row) for row in rows]


def read_job(connection: Connection, job_id: int) -> Job:
    """One of them; raises StudyError where there is none of this number."""
    row = connection.execute(select(tables.jobs).where(_J.id == job_id)).first()
    if row is None:
        raise StudyError(f"there is no job {job_id}")
    return _to_job(row)


def ask_to_count(connection: Connection, who: str, field_ids: Sequence[int] | None = None) -> Job:
    """Let fields be counted.

    Args:
        connection: that writes.
        who: asks.
        field_ids: None: all that are not counted with the present settings.

    Raises:
        StudyError: none is to be counted.
    """
    settings = read_settings(connection)
    wanted = _F.removed.is_(False) & _F.status.in_((NEW, COUNTED, FAILED))
    if field_ids is not None:
        wanted &= _F.id.in_(list(field_ids))
        ids = connection.scalars(select(_F.id).where(wanted)).all()
    else:
        rows = connection.execute(select(_F.id, _F.status, _F.counted_with).where(wanted))
        present = settings.of_detections
        ids = [r.id for r in rows if r.status != COUNTED or r.counted_with != present]
    if ids:
        for start in range(0, len(ids), 500):  # databases limit the values of a statement
            part = _F.id.in_(ids[start : start + 500])
            values = {"status": PENDING, "error": None, "attempts": 0}
            values["version"] = _F.version + 1
            connection.execute(update(tables.fields).where(part).values(**values))
    waiting = connection.scalar(
        select(func.count()).where(_F.status.in_((PENDING, RUNNING)), _F.removed.is_(False))
    )
    if not waiting:
        raise StudyError("every field is counted with these settings already")
    for job in list_jobs(connection):
        if job.kind == COUNT and job.status == WAITING:  # it counts all that are pending
            connection.execute(update(tables.jobs).where(_J.id == job.id).values(total=waiting))
            return read_job(connection, job.id)
    return _ask(connection, who, COUNT, {}, waiting)


def ask_to_retrain(connection: Connection, who: str, name: str, fine_tune: bool = True) -> Job:
    """Let the present model be retrained on the fields that were accepted.

    Args:
        connection: that writes.
        who: asks.
        name: of the new model.
        fine_tune: also try a fine-tuning, beside thresholds and diameter.

    Raises:
        StudyError: the name is none or taken, or too few fields are accepted.
    """
    name = check_model_name(name)
    for job in connection.execute(select(tables.jobs).where(_J.kind == RETRAIN)):
        if job.wanted["name"] == name and job.status not in (BROKEN, CANCELLED):
            raise StudyError(f"a model {name} was made already: choose another name")
    reviewed = connection.scalar(
        select(func.count()).where(_F.reviewed_at.is_not(None), _F.removed.is_(False))
    )
    if reviewed < 2:
        raise StudyError(
            f"{reviewed} fields are accepted: correct and accept two at least, better ten"
        )
    wanted = {"name": name, "fine_tune": fine_tune, "model": read_settings(connection).model}
    return _ask(connection, who, RETRAIN, wanted, 0)


def _ask(connection, who, kind, wanted, total):
    values = {"kind": kind, "status": WAITING, "wanted": wanted, "total": total}
    inserted = connection.execute(
        tables.jobs.insert().values(who=who, created=now(), cancel=False, **values)
    )
    note_event(connection, who, kind, wanted)
    return read_job(connection, inserted.inserted_primary_key[0])


def cancel(connection: Connection, job_id: int, who: str) -> None:
    """Stop a job, also one that waits; nothing happens where it has ended."""
    job = read_job(connection, job_id)
    if job.status not in (WAITING, AT_WORK):
        return
    note_event(connection, who, "cancel", {"job": job_id})
    if job.status == AT_WORK:
        connection.execute(update(tables.jobs).where(_J.id == job_id).values(cancel=True))
    else:
        end(connection, job_id, CANCELLED, "cancelled")
    if job.kind == COUNT:
        let_go(connection)


def let_go(connection: Connection, *, begun: bool = False) -> None:
    """Fields that nobody counts any more are as they were before they were to be counted.

    Args:
        connection: that writes.
        begun: also those that were begun, by a worker that does not go on.
    """
    waiting = _F.status.in_((PENDING, RUNNING) if begun else (PENDING,))
    counted = select(tables.detections.c.field)
    for condition, status in ((_F.id.in_(counted), COUNTED), (_F.id.not_in(counted), NEW)):
        values = {"status": status, "attempts": 0, "version": _F.version + 1}
        connection.execute(update(tables.fields).where(waiting & condition).values(**values))


def end(
    connection: Connection, job_id: int, status: str, message: str, result: dict | None = None
) -> None:
    """Note how a job ended."""
    values = {"status": status, "message": message, "result": result, "finished": now()}
    connection.execute(
        update(tables.jobs).where(_J.id == job_id).values(worker=None, beat=None, **values)
    )


def report(connection: Connection, job_id: int, done: int, total: int, message: str) -> bool:
    """Note the progress of a job; whether it shall go on."""
    values = {"done": done, "total": total, "message": message, "beat": time.time()}
    connection.execute(update(tables.jobs).where(_J.id == job_id).values(**values))
    return not connection.scalar(select(_J.cancel).where(_J.id == job_id))


def is_any_open(connection: Connection) -> bool:
    """Whether a job waits, or is worked at: only then is there something to :func:`claim`."""
    is_open = _J.status.in_((WAITING, AT_WORK))
    return connection.scalar(select(_J.id).where(is_open).limit(1)) is not None


def claim(connection: Connection) -> Row | None:
    """Take the oldest job that waits, or whose worker is gone; None: there is none.

    Of several workers, at several computers too, one gets it.
    """
    rows = connection.execute(
        select(tables.jobs)
        .where(_J.status.in_((WAITING, AT_WORK)))
        .order_by(_J.id)
        .with_for_update()
    ).all()
    if any(row.status == AT_WORK and _is_alive(row) for row in rows):
        return None
    if not rows:
        return None
    job = next((row for row in rows if row.status == AT_WORK), rows[0])
    values = {"status": AT_WORK, "worker": this_worker(), "beat": time.time()}
    connection.execute(update(tables.jobs).where(_J.id == job.id).values(**values))
    if job.kind == COUNT:
        _begin_again(connection)
    return job


def _begin_again(connection):
    """Let fields be counted that a worker had begun which is gone; not those that end it."""
    begun = update(tables.fields).where(_F.status == RUNNING)
    more = {"version": _F.version + 1}
    error = "counting it ended the program again and again"
    connection.execute(
        begun.where(_F.attempts >= MOST_ATTEMPTS).values(status=FAILED, error=error, **more)
    )
    connection.execute(begun.values(status=PENDING, **more))


def this_worker() -> str:
    """The name of this process among all on all computers."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _is_alive(row: Row) -> bool:
    """Whether the worker of a job is at work."""
    if row.worker == this_worker():
        return False
    host, _, process = (row.worker or "").rpartition("/")
    if host == socket.gethostname():
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, ValueError):
            return False
        except PermissionError:
            pass
    return time.time() - (row.beat or 0) < SILENT
