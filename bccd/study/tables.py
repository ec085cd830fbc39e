"""The tables of a study: SQLAlchemy's Core, so that SQLite and PostgreSQL hold the same.

Whatever a person did is in ``operations``, which is only ever added to. What ``fields`` says of
counts is computed from it and from ``detections``, and kept there so that a list of thousands of
fields is one query.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA = 1  # version of these tables
# Of an entry of the log; SQLite numbers only its INTEGER by itself.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

# What is known of the study as a whole: "schema", "name", "settings", "created".
facts = Table(
    "facts",
    metadata,
    Column("key", String(40), primary_key=True),
    Column("value", JSON, nullable=False),
)

# One row, whose number grows with every change, so that a page can ask cheaply.
changes = Table("changes", metadata, Column("number", _NUMBER, nullable=False))

# Folders below which images may lie that the study does not hold itself.
folders = Table("folders", metadata, Column("path", Text, primary_key=True))

models = Table(
    "models",
    metadata,
    Column("id", String(400), primary_key=True),  # as ``CellCounter`` takes it
    Column("title", String(400), nullable=False),
    Column("made_here", Boolean, nullable=False),
    Column("facts", JSON),  # see ``ModelFacts``; None until it was loaded once
    Column("card", JSON),
)

fields = Table(
    "fields",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(300), nullable=False),
    Column("path", Text, nullable=False),  # from the study's folder if it lies there, or absolute
    Column("page", Integer, nullable=False, default=0),  # 0: the file is the image
    Column("window", JSON),  # left, top, width, height in a slide; None: all of it
    Column("width", Integer),
    Column("height", Integer),
    Column("status", String(10), nullable=False),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, default=0),  # begun and not finished
    Column("counting", Integer, nullable=False, default=0),  # how often it was counted
    Column("counted_with", JSON),  # the settings of the last counting
    Column("trusted", Boolean, nullable=False, default=False),  # it had intervals
    Column("notes", JSON, nullable=False),
    Column("diameter", Float),
    Column("scale", String(12)),
    Column("micrometres_per_pixel", Float),
    Column("counts", JSON(none_as_null=True)),
    Column("model_counts", JSON(none_as_null=True)),
    Column("intervals", JSON(none_as_null=True)),
    Column("corrected", Integer, nullable=False, default=0),
    Column("reviewed_by", String(80)),
    Column("reviewed_at", String(32)),
    Column("version", Integer, nullable=False, default=0),
    Column("removed", Boolean, nullable=False, default=False),
    Column("added_by", String(80), nullable=False),
    Column("added_at", String(32), nullable=False),
    Index("fields_of_a_path", "path"),
    Index("fields_by_status", "status"),
)

# All that the detector found in a field, whatever the scores: arrays of ``bccd.study.packing``.
detections = Table(
    "detections",
    metadata,
    Column("field", Integer, ForeignKey("fields.id"), primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)

# What was done by hand, and by whom: never changed, never deleted.
operations = Table(
    "operations",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("field", Integer, ForeignKey("fields.id"), nullable=False),
    Column("who", String(80), nullable=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(12), nullable=False),  # "edit", "undo" or "redo"
    Column("of", _NUMBER),  # the operation that is undone or redone
    Column("body", JSON, nullable=False),
    Index("operations_of_a_field", "field", "number"),
)

# What was done with the study: settings, images added and removed, jobs.
events = Table(
    "events",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("who", String(80), nullable=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("body", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("status", String(10), nullable=False),
    Column("wanted", JSON, nullable=False),
    Column("done", Integer, nullable=False, default=0),
    Column("total", Integer, nullable=False, default=0),
    Column("message", Text, nullable=False, default=""),
    Column("result", JSON),
    Column("who", String(80), nullable=False),
    Column("created", String(32), nullable=False),
    Column("finished", String(32)),
    Column("worker", String(120)),  # host and process that does it
    Column("beat", Float),  # time of its last sign of life
    Column("cancel", Boolean, nullable=False, default=False),
)
