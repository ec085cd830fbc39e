"""Counts that follow what was done: the row of a field, computed again."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from bccd.study import tables
from bccd.study.errors import StudyError
from bccd.study.field_state import look, read_log, read_logs, read_packed
from bccd.study.settings import read_facts, read_settings

_F = tables.fields.c
_AT_ONCE = 500  # fields in memory


def recount_field(connection: Connection, field_id: int) -> None:
    """Compute the row of one field again, in the transaction that changed it."""
    settings = read_settings(connection)
    facts = read_facts(connection, settings.model)
    row = connection.execute(select(tables.fields).where(_F.id == field_id)).first()
    if row is None:
        raise StudyError(f"the study has no field {field_id}")
    log, packed = read_log(connection, field_id), read_packed(connection, field_id)
    values = look(row, settings, facts, log, packed).materialised()
    _store(connection, [(row, values)])


def recount_fields(connection: Connection) -> None:
    """Compute the rows of all counted fields again, as other thresholds make it needed.

    The counts of fields that were accepted stay; what the model alone would count there changes.
    """
    settings = read_settings(connection)
    facts = read_facts(connection, settings.model)
    found = tables.detections.c
    query = select(tables.fields, found.packed).join(tables.detections)
    query = query.order_by(_F.id).limit(_AT_ONCE)
    last = 0
    while rows := connection.execute(query.where(_F.id > last)).all():
        which = tables.operations.c.field.between(rows[0].id, rows[-1].id)
        logs = read_logs(connection, which)
        changed = []
        for row in rows:
            values = look(row, settings, facts, logs.get(row.id, []), row.packed).materialised()
            if any(row._mapping[name] != value for name, value in values.items()):
                changed.append((row, values))
        _store(connection, changed)
        last = rows[-1].id


def _store(connection: Connection, changed: list[tuple[Row, dict[str, Any]]]) -> None:
    if not changed:
        return
    names = list(changed[0][1])
    statement = (
        update(tables.fields)
        .where(_F.id == bindparam("field"))
        .values(version=_F.version + 1, **{name: bindparam(f"new_{name}") for name in names})
    )
    values = [
        {"field": row.id, **{f"new_{name}": value for name, value in each.items()}}
        for row, each in changed
    ]
    connection.execute(statement, values)
