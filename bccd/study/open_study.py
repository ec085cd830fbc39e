"""A study that is open: its folder, its database, and where each of its fields is."""

import os
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Row, select

from bccd.study import tables
from bccd.study.adding import allowed_folders, check_allowed
from bccd.study.database import FILE, Database, read_fact
from bccd.study.decoder import Source
from bccd.study.errors import StudyError
from bccd.study.field_state import Looked, look, read_log, read_packed
from bccd.study.pictures import Pictures
from bccd.study.settings import read_facts, read_settings

_Opened = TypeVar("_Opened", bound="OpenStudy")


class OpenStudy:
    """What every part of a study starts from.

    Attributes:
        folder: of the study.
        database: its tables.
        pictures: small pictures and tiles of its fields.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        """Use :meth:`open`."""
        self.folder, self.database = folder, database
        self.pictures = Pictures(folder)

    @classmethod
    def open(
        cls: type[_Opened],
        folder: str | os.PathLike,
        *,
        create: bool = False,
        database: str | None = None,
    ) -> _Opened:
        """Open a study.

        Args:
            folder: of it.
            create: make it where it is not there.
            database: URL of SQLAlchemy, as ``postgresql+pg8000://user:password@host/name``;
                None: ``study.db`` in the folder.

        Raises:
            StudyError: there is none, or it cannot be opened.
        """
        folder = Path(folder).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise StudyError(f"{folder} is a file: a study is a folder")
        if not create and database is None and not (folder / FILE).is_file():
            raise StudyError(f"{folder} holds no study ({FILE}): name the folder of one")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{folder} cannot be made ({error.strerror})") from None
        opened = Database(folder, database)
        try:
            if create:
                opened.create(folder.name)
            opened.check()
        except BaseException:
            opened.close()
            raise
        return cls(folder, opened)

    def close(self) -> None:
        """Close its database and end the processes that read its images."""
        self.pictures.close()
        self.database.close()

    def __enter__(self: _Opened) -> _Opened:
        """Return the study itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    @property
    def name(self) -> str:
        """Of the study."""
        with self.database.read() as connection:
            return str(read_fact(connection, "name"))

    def look(self, connection: Connection, field_id: int, *, lock: bool = False) -> Looked:
        """A field as it is now; ``lock``: nobody else changes it until the connection ends.

        Raises:
            StudyError: there is none of this number.
        """
        row = self.row(connection, field_id, lock=lock)
        settings = read_settings(connection)
        facts = read_facts(connection, settings.model)
        log = read_log(connection, field_id)
        return look(row, settings, facts, log, read_packed(connection, field_id))

    def row(self, connection: Connection, field_id: int, *, lock: bool = False) -> Row:
        """The row of a field in its table; arguments and errors as of :meth:`look`."""
        query = select(tables.fields).where(tables.fields.c.id == field_id)
        row = connection.execute(query.with_for_update() if lock else query).first()
        if row is None:
            raise StudyError(f"the study has no field {field_id}")
        return row

    def source(self, field_id: int) -> Source:
        """Where the pixels of a field are.

        Raises:
            StudyError: there is no such field, or its file lies outside of what is allowed by now.
        """
        with self.database.read() as connection:
            row = self.row(connection, field_id)
            path = check_allowed(self.folder, self.folder / row.path, allowed_folders(connection))
        window = None if row.window is None else tuple(row.window)
        return Source(field_id, path, row.page or None, window)
