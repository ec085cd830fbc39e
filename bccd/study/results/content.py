"""The fields of a study, one after another, as they are at one moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, select

from bccd.study import tables
from bccd.study.field_list import FieldRow, to_field_row
from bccd.study.field_state import Box, Looked, Region, look, read_log, read_packed
from bccd.study.settings import ClassInfo, Settings, class_infos, read_facts, read_settings

if TYPE_CHECKING:
    from bccd.study.study import Study


class Counted(NamedTuple):
    """A field with its cells.

    Attributes:
        row: as the gallery shows it.
        looked: see ``Looked``.
        boxes: that count.
        regions: that were drawn.
    """

    row: FieldRow
    looked: Looked
    boxes: list[Box]
    regions: list[Region]


class Content:
    """A study at one moment.

    Attributes:
        study, connection: that it is read from.
        settings: how it is counted.
        facts: of its model.
        classes: of the present model.
        class_names: of those, and others that boxes still have.
        rows: of the fields, in the order in which they were added.
    """

    def __init__(
        self, study: "Study", connection: Connection, field_ids: Sequence[int] | None
    ) -> None:
        """Use :func:`read_content`."""
        self.study, self.connection = study, connection
        self.settings: Settings = read_settings(connection)
        facts = read_facts(connection, self.settings.model)
        self.facts = facts
        self.classes: list[ClassInfo] = class_infos(facts, self.settings)
        table = tables.fields
        query = select(table).where(table.c.removed.is_(False)).order_by(table.c.id)
        wanted = None if field_ids is None else set(field_ids)
        rows = (to_field_row(row) for row in connection.execute(query))
        self.rows = [row for row in rows if wanted is None or row.id in wanted]
        others = (name for row in self.rows for name in row.counts or ())
        self.class_names = tuple(dict.fromkeys([*facts.class_names, *others]))

    @property
    def colors(self) -> dict[str, tuple[int, int, int]]:
        """RGB of each class."""
        known = {each.name: each.color for each in self.classes}
        return {name: known.get(name, (110, 110, 110)) for name in self.class_names}

    def fields(self) -> Iterator[Counted]:
        """The fields of ``rows`` with their cells, one in memory at a time."""
        for row in self.rows:
            yield self.field(row)

    def field(self, row: FieldRow) -> Counted:
        """One of them."""
        of = self.connection, row.id
        log, packed = read_log(*of), read_packed(*of)
        looked = look(self.study.row(*of), self.settings, self.facts, log, packed)
        boxes, _ = looked.boxes()
        return Counted(row, looked, boxes, looked.regions(boxes))

    def names(self) -> dict[int, str]:
        """Names of the fields by their numbers, no two alike."""
        found: dict[int, str] = {}
        taken: set[str] = set()
        for row in self.rows:
            name = row.name if row.name not in taken else f"{row.id}/{row.name}"
            taken.add(name)
            found[row.id] = name
        return found


@contextmanager
def read_content(study: "Study", field_ids: Sequence[int] | None = None) -> Iterator[Content]:
    """The content of a study; all of it is of one moment.

    Args:
        study: to read.
        field_ids: only these; None: all.
    """
    with study.database.read() as connection:
        yield Content(study, connection, field_ids)
