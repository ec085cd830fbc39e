"""Counts that follow what was done: the row of a field, computed again."""

from sqlalchemy import Connection, select, update

from bccd.study import tables
from bccd.study.errors import StudyError
from bccd.study.field_state import look, read_packed
from bccd.study.settings import read_facts, read_settings

_F = tables.fields.c


def recount_field(connection: Connection, field_id: int) -> None:
    """Compute the row of one field again, in the transaction that changed it."""
    settings = read_settings(connection)
    facts = read_facts(connection, settings.model)
    row = connection.execute(select(tables.fields).where(_F.id == field_id)).first()
    if row is None:
        raise StudyError(f"the study has no field {field_id}")
    looked = look(connection, row, settings, facts, read_packed(connection, field_id))
    values = {**looked.materialised(), "version": row.version + 1}
    connection.execute(update(tables.fields).where(_F.id == field_id).values(**values))


def recount_fields(connection: Connection) -> None:
    """Compute all fields again that nobody has accepted, as other thresholds make it needed."""
    ids = connection.scalars(
        select(_F.id).join(tables.detections).where(_F.reviewed_at.is_(None)).order_by(_F.id)
    ).all()
    for field_id in ids:
        recount_field(connection, field_id)
