"""The fields of a study as light rows, for a gallery and a table of thousands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, String, cast, func, select

from bccd.study import tables
from bccd.study.errors import StudyError

NEW, PENDING, RUNNING, COUNTED, FAILED = "new", "pending", "running", "counted", "failed"
STATUSES = (NEW, PENDING, RUNNING, COUNTED, FAILED)
MOST_ROWS = 10000  # of one page
_F = tables.fields.c
_SORTS = {
    "added": (_F.id,),
    "name": (func.lower(_F.name), _F.id),
    "status": (_F.status, _F.id),
    "reviewed": (_F.reviewed_at, _F.id),
    "corrected": (_F.corrected, _F.id),
    "diameter": (_F.diameter, _F.id),
}


class FieldRow(NamedTuple):
    """A field as the gallery shows it.

    Attributes:
        id, name: of the field; the name is a user's text, never to be read as HTML.
        width, height: in pixels; None: not read yet.
        status: "new", "pending", "running", "counted" or "failed".
        error: why it failed, a sentence.
        counts: {class: number}, corrections included; None: not counted.
        model_counts: without corrections.
        intervals: {class: (least, most)}; None: there are none.
        notes: sentences, why the count should not be trusted.
        corrected: number of corrections.
        reviewed_by, reviewed_at: who accepted the field, and when; None: nobody has.
        diameter, scale: of red cells in pixels, and where it is from, see ``Scale``.
        micrometres_per_pixel: None: unknown.
        version: another one after every change.
    """

    id: int
    name: str
    width: int | None
    height: int | None
    status: str
    error: str | None
    counts: dict[str, int] | None
    model_counts: dict[str, int] | None
    intervals: dict[str, tuple[int, int]] | None
    notes: list[str]
    corrected: int
    reviewed_by: str | None
    reviewed_at: str | None
    diameter: float | None
    scale: str | None
    micrometres_per_pixel: float | None
    version: int


class Page(NamedTuple):
    """Some of the fields, and how many there are of the kind that was asked for."""

    rows: list[FieldRow]
    total: int


class Totals(NamedTuple):
    """The study in numbers; ``counts`` by class, over all counted fields."""

    fields: int
    counted: int
    failed: int
    pending: int
    reviewed: int
    counts: dict[str, int]


_COLUMNS = [_F[name] for name in FieldRow._fields]


def to_field_row(row: Row) -> FieldRow:
    """Of a row of the table, or of the query below."""
    values = row._mapping
    intervals = values["intervals"]
    found = {key: values[key] for key in FieldRow._fields}
    found["intervals"] = intervals and {name: tuple(each) for name, each in intervals.items()}
    return FieldRow(**found)


def list_fields(
    connection: Connection,
    *,
    offset: int = 0,
    limit: int = 100,
    sort: str = "added",
    descending: bool = False,
    text: str = "",
    status: str | None = None,
    reviewed: bool | None = None,
    noted: bool | None = None,
) -> Page:
    """Fields that are not removed.

    Args:
        connection: to read with.
        offset, limit: which of them.
        sort: a key of the table, or "count:RBC" for the counts of a class. Fields without a value
            come last.
        descending: the other way round.
        text: a part of the name, whatever its case.
        status: one of ``STATUSES``.
        reviewed: only those that were accepted, or were not.
        noted: only those whose count has notes, or has none.

    Raises:
        StudyError: there is no such order or status.
    """
    wanted = select(*_COLUMNS).where(_F.removed.is_(False))
    if text:
        wanted = wanted.where(func.lower(_F.name).contains(text.lower(), autoescape=True))
    if status is not None:
        if status not in STATUSES:
            raise StudyError(f"there is no status {status[:20]!r}: use {', '.join(STATUSES)}")
        wanted = wanted.where(_F.status == status)
    if reviewed is not None:
        wanted = wanted.where(_F.reviewed_at.is_not(None) if reviewed else _F.reviewed_at.is_(None))
    if noted is not None:
        empty = cast(_F.notes, String) == "[]"
        wanted = wanted.where(~empty if noted else empty)
    total = connection.scalar(select(func.count()).select_from(wanted.subquery()))
    ordered = _ordered(wanted, sort, descending)
    limit = min(max(0, limit), MOST_ROWS)
    rows = connection.execute(ordered.offset(max(0, offset)).limit(limit))
    return Page([to_field_row(row) for row in rows], total)


def _ordered(wanted: Select, sort: str, descending: bool) -> Select:
    keys: Sequence[Any]
    if sort.startswith("count:") and not set('"\\') & set(sort):
        keys = (_F.counts[sort.removeprefix("count:")].as_integer(), _F.id)
    elif sort in _SORTS:
        keys = _SORTS[sort]
    else:
        raise StudyError(f"there is no order {sort[:40]!r}: use {', '.join(_SORTS)}, count:CLASS")
    first, *rest = keys
    orders = [each.desc() if descending else each.asc() for each in (first, *rest)]
    if first is not _F.id:
        orders.insert(0, first.is_(None).asc())
    return wanted.order_by(*orders)


def sum_up(connection: Connection, class_names: Sequence[str]) -> Totals:
    """The study in numbers."""
    present = _F.removed.is_(False)

    def number(*conditions):
        return func.count().filter(*conditions) if conditions else func.count()

    sums = [func.coalesce(func.sum(_F.counts[name].as_integer()), 0) for name in class_names]
    row = connection.execute(
        select(
            number(),
            number(_F.status == COUNTED),
            number(_F.status == FAILED),
            number(_F.status.in_((PENDING, RUNNING))),
            number(_F.reviewed_at.is_not(None)),
            *sums,
        ).where(present)
    ).one()
    counts = dict(zip(class_names, (int(value) for value in row[5:]), strict=True))
    return Totals(*row[:5], counts)
