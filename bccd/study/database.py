"""The database of a study: SQLite in its folder, or any that SQLAlchemy reaches."""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from bccd.counting.detection_files import printable
from bccd.study import tables
from bccd.study.errors import StudyError

FILE = "study.db"
_WAIT = 30  # seconds for which a write waits for another one
_CONNECTIONS = 20
# What values make of code that are not as this program writes them.
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class Database:
    """Connections to the tables of one study; may be used from any thread.

    Attributes:
        url: as it was given; None: SQLite in the study's folder, in ``file``.
    """

    def __init__(self, folder: Path, url: str | None) -> None:
        """Take the place of the tables.

        Args:
            folder: of the study.
            url: of SQLAlchemy; None: the SQLite file in the folder.

        Raises:
            StudyError: SQLAlchemy knows no such database, or its driver is not installed.
        """
        self.url, self.file = url, folder / FILE if url is None else None
        self._shown = str(self.file) if url is None else "the database"
        try:
            self.engine = _engine(url or f"sqlite:///{self.file}")
        except (ArgumentError, NoSuchModuleError):
            raise StudyError(
                "the database is no URL that SQLAlchemy knows: write it as "
                "postgresql+pg8000://user:password@host/name"
            ) from None
        except ImportError as error:
            raise StudyError(f"the driver of the database is not installed ({error})") from None

    def create(self, name: str) -> None:
        """Make the tables of a new study; nothing changes where there are some."""
        with self._explained("opened"):
            tables.metadata.create_all(self.engine)
            with self.write() as connection:
                if read_fact(connection, "schema") is None:
                    write_fact(connection, "schema", tables.SCHEMA)
                    write_fact(connection, "name", name)
                    write_fact(connection, "created", now())
                    connection.execute(tables.changes.insert().values(number=1))

    def check(self) -> None:
        """Raise StudyError where there are no tables, or those of a newer program."""
        with self._explained("opened"):
            if not inspect(self.engine).has_table(tables.facts.name):
                raise StudyError(f"{self._shown} holds no study")
            with self.read() as connection:
                schema = read_fact(connection, "schema")
        if not isinstance(schema, int):
            raise StudyError(f"{self._shown} holds no study")
        if schema > tables.SCHEMA:
            raise StudyError(
                f"{self._shown} was written by a newer version of this program (its tables have "
                f"version {schema}, this program knows {tables.SCHEMA}): update the program"
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the study.

        Raises:
            StudyError: the database cannot be read; so does :meth:`write`.
        """
        with self._explained("read"), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are stored together at the end, or not at all."""
        with self._explained("written"), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # Taken at once: a read that is to become a write later could not wait for others.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.execute(update(tables.changes).values(number=tables.changes.c.number + 1))
            connection.commit()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _explained(self, what):
        """Turn what a damaged database makes of any code that reads it into a sentence."""
        try:
            yield
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())[:200]
            raise StudyError(f"{self._shown} cannot be {what} ({reason})") from error
        except StudyError:
            raise
        except OverflowError as error:
            raise StudyError("a number is larger than any in the study") from error
        except _DAMAGED as error:
            reason = printable(f"{type(error).__name__}: {error}")[:200]
            raise StudyError(
                f"{self._shown} holds what this program cannot read ({reason}): it may be damaged. "
                "Nothing was changed"
            ) from error


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=_CONNECTIONS)
    arguments = {"timeout": _WAIT, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=_CONNECTIONS)
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection, _):
    connection.isolation_level = None  # pysqlite's own beginning of transactions comes too late
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # SQLite's own knows the letters of ASCII alone.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text):
    return text.lower() if isinstance(text, str) else text


def read_fact(connection: Connection, key: str) -> Any:
    """What is noted of the study under ``key``; None: nothing."""
    return connection.scalar(select(tables.facts.c.value).where(tables.facts.c.key == key))


def write_fact(connection: Connection, key: str, value: Any) -> None:
    """Note what JSON can hold of the study."""
    changed = connection.execute(
        update(tables.facts).where(tables.facts.c.key == key).values(value=value)
    )
    if not changed.rowcount:
        connection.execute(tables.facts.insert().values(key=key, value=value))


def note_event(connection: Connection, who: str, kind: str, body: dict) -> None:
    """Note who did something with the study as a whole."""
    connection.execute(tables.events.insert().values(who=who, at=now(), kind=kind, body=body))


def now() -> str:
    """The time as ISO text in UTC, to milliseconds, which sorts as time does."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
