"""Everything that a page asks of a study."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from bccd.study import edits, field_list, jobs, tables
from bccd.study.adding import Added, add_images, allowed_folders
from bccd.study.database import note_event
from bccd.study.errors import Conflict, StudyError
from bccd.study.field_list import Page, Totals
from bccd.study.field_state import DETECTED, Box, Looked
from bccd.study.names import check_who
from bccd.study.one_field import Field, describe
from bccd.study.open_study import OpenStudy
from bccd.study.recount import recount_field, recount_fields
from bccd.study.settings import (
    ClassInfo,
    ModelInfo,
    Settings,
    class_infos,
    list_models,
    read_facts,
    read_settings,
    write_model,
    write_settings,
)
from bccd.study.tile_plan import Level, plan_levels


class Study(OpenStudy):
    """A study; may be used from several threads, and opened by several processes at once."""

    # What it counts with

    def settings(self) -> Settings:
        """How its fields are counted."""
        with self.database.read() as connection:
            return read_settings(connection)

    def change_settings(self, who: str, **changed: Any) -> Settings:
        """Change some of the ``Settings``; what a person did by hand stays.

        Another border counts again at once. Another model, diameter or size of a pixel counts from
        the next counting on.

        Raises:
            StudyError: a value cannot be used.
        """
        who = check_who(who)
        with self.database.write() as connection:
            old = read_settings(connection)
            try:
                new = dataclasses.replace(old, **changed)
            except TypeError:
                raise StudyError(f"{', '.join(changed)}: there is no such setting") from None
            if new.model not in {model.id for model in list_models(connection)}:
                raise StudyError(f"the study has no model {new.model!r}")
            if new.model != old.model and "thresholds" not in changed:
                new = dataclasses.replace(new, thresholds={})
            write_settings(connection, new)
            note_event(connection, who, "settings", dataclasses.asdict(new))
            if (new.border, new.thresholds) != (old.border, old.thresholds):
                recount_fields(connection)
        return new

    def set_thresholds(self, who: str, thresholds: Mapping[str, float]) -> None:
        """Count again with other thresholds by class, at once; empty: those of the model.

        Fields that were accepted, and boxes that were made by hand, stay as they are.
        """
        self.change_settings(who, thresholds=dict(thresholds))

    def classes(self) -> list[ClassInfo]:
        """The classes of the present model."""
        with self.database.read() as connection:
            settings = read_settings(connection)
            return class_infos(read_facts(connection, settings.model), settings)

    def models(self) -> list[ModelInfo]:
        """The models that it can count with."""
        with self.database.read() as connection:
            return list_models(connection)

    def add_model(self, path: str | os.PathLike) -> str:
        """Let a checkpoint, an exported file or the folder of a model be chosen.

        For command lines alone, never for a page: a model is a program of its own.

        Returns:
            its id for :meth:`change_settings`.

        Raises:
            StudyError: there is no such file.
        """
        real = Path(path).expanduser().resolve()
        if not real.exists():
            known = ", ".join(model.id for model in self.models())
            raise StudyError(f"the model {path} does not exist: name a file, or one of {known}")
        with self.database.write() as connection:
            write_model(connection, str(real), title=real.name)
        return str(real)

    # Its images

    def allow_folder(self, path: str | os.PathLike) -> None:
        """Let images below a folder be added: for command lines alone, never for a page.

        Raises:
            StudyError: there is no such folder.
        """
        folder = Path(path).expanduser().resolve()
        if not folder.is_dir():
            raise StudyError(f"{path} is no folder")
        with self.database.write() as connection:
            if folder not in allowed_folders(connection):
                connection.execute(tables.folders.insert().values(path=str(folder)))

    def allowed_folders(self) -> list[Path]:
        """Folders below which images may be added."""
        with self.database.read() as connection:
            return allowed_folders(connection)

    def add(self, paths: Sequence[str | os.PathLike], who: str) -> Added:
        """Add images, folders of images, and slides, where they lie.

        Args:
            paths: below the study's own ``images`` or an allowed folder.
            who: adds them.

        Returns:
            the new fields, and why others are none.
        """
        return add_images(self, paths, check_who(who))

    def remove(self, field_ids: Sequence[int], who: str) -> None:
        """Take fields out of the study; nothing is deleted, and ``restore`` brings them back."""
        self._set_removed(field_ids, who, True)

    def restore(self, field_ids: Sequence[int], who: str) -> None:
        """Bring back fields that were removed."""
        self._set_removed(field_ids, who, False)

    def _set_removed(self, field_ids, who, removed):
        who, kind = check_who(who), "remove" if removed else "restore"
        with self.database.write() as connection:
            of = tables.fields.c.id.in_(list(field_ids))
            connection.execute(update(tables.fields).where(of).values(removed=removed))
            note_event(connection, who, kind, {"fields": list(field_ids)})

    # Lists

    def fields(self, **wanted: Any) -> Page:
        """Some of the fields; arguments as of :func:`bccd.study.field_list.list_fields`."""
        with self.database.read() as connection:
            return field_list.list_fields(connection, **wanted)

    def totals(self) -> Totals:
        """The study in numbers."""
        with self.database.read() as connection:
            facts = read_facts(connection, read_settings(connection).model)
            return field_list.sum_up(connection, facts.class_names)

    def change_number(self) -> int:
        """Another number after every change of anything in the study."""
        with self.database.read() as connection:
            return connection.scalar(select(tables.changes.c.number))

    # One field

    def field(self, field_id: int) -> Field:
        """One field, with everything in it.

        Raises:
            StudyError: there is none of this number.
        """
        with self.database.read() as connection:
            return describe(self.look(connection, field_id))

    def next_uncertain(self, field_id: int, after: str | None = None) -> Box | None:
        """The detection that counts with the lowest score and that nobody has looked at.

        Args:
            field_id: of the field.
            after: id of the one before; the next one has a higher score. None, or an id that is
                not there any more: the first.
        """
        with self.database.read() as connection:
            boxes, _ = self.look(connection, field_id).boxes()
        unsure = [box for box in reversed(boxes) if box.origin == DETECTED]
        places = {box.id: place for place, box in enumerate(unsure)}
        start = places.get(after, -1) + 1
        return unsure[start] if start < len(unsure) else None

    def edit(
        self, field_id: int, who: str, changes: Sequence[Mapping[str, Any]], version: int
    ) -> Field:
        """Correct a field: one entry of its log, which is undone as one.

        Args:
            field_id: of the field.
            who: corrects it.
            changes: each ``{"do": ...}`` of "add" (``name``, ``box``), "move" (``id``, ``box``),
                "delete" (``id``), "class" (``id``, ``name``), "confirm" (``id``), "add_region"
                (``name``, ``vertices``), "remove_region" (``id``), "accept" or "reopen".
            version: of the field that the person saw.

        Raises:
            Conflict: the field has another version by now.
            StudyError: a change cannot be made.
        """
        with self._changing(field_id, who, version) as (connection, looked):
            edits.append(connection, looked, who, "edit", edits.resolve(looked, changes))
        return self.field(field_id)

    def undo(self, field_id: int, who: str) -> Field:
        """Undo the last correction of a field, by whomever; raises StudyError if there is none."""
        return self._step(field_id, who, "undo")

    def redo(self, field_id: int, who: str) -> Field:
        """Bring back what was undone last; raises StudyError if there is nothing."""
        return self._step(field_id, who, "redo")

    def _step(self, field_id, who, kind):
        with self._changing(field_id, who) as (connection, looked):
            entries = looked.state.active if kind == "undo" else looked.state.undone
            if not entries:
                raise StudyError(f"there is nothing to {kind}")
            edits.append(connection, looked, who, kind, {}, entries[-1].number)
        return self.field(field_id)

    @contextmanager
    def _changing(self, field_id, who, version=None) -> Iterator[tuple[Connection, Looked]]:
        check_who(who)
        with self.database.write() as connection:
            looked = self.look(connection, field_id, lock=True)
            if version is not None and version != looked.row.version:
                raise Conflict("the field was changed in the meantime: look at it again")
            yield connection, looked
            recount_field(connection, field_id)

    # Pictures

    def thumbnail(self, field_id: int) -> bytes:
        """A small picture of a field, JPEG; raises StudyError where it cannot be read."""
        return self.pictures.thumbnail(self.source(field_id))

    def levels(self, field_id: int) -> list[Level]:
        """The sizes in which a field can be had in tiles.

        Raises:
            StudyError: there is no such field, or its size is not known.
        """
        with self.database.read() as connection:
            row = self.row(connection, field_id)
        if not row.width or not row.height:
            raise StudyError("the image was not read yet, so its size is not known")
        return plan_levels(row.width, row.height)

    def tile(self, field_id: int, level: int, column: int, row: int) -> bytes:
        """A tile of a field, JPEG; raises as :meth:`thumbnail`."""
        return self.pictures.tile(self.source(field_id), level, column, row)

    def make_pictures(self, field_id: int) -> None:
        """Make the pictures of a field before somebody waits for them; raises as they do."""
        source = self.source(field_id)
        self.pictures.thumbnail(source)
        self.pictures.make_tiles(source)

    # Work beside

    def count(self, who: str, field_ids: Sequence[int] | None = None) -> jobs.Job:
        """Let the worker process count fields; see :func:`bccd.study.jobs.ask_to_count`."""
        with self.database.write() as connection:
            return jobs.ask_to_count(connection, check_who(who), field_ids)

    def retrain(self, who: str, name: str, *, fine_tune: bool = True) -> jobs.Job:
        """Let the worker process retrain; see :func:`bccd.study.jobs.ask_to_retrain`."""
        with self.database.write() as connection:
            return jobs.ask_to_retrain(connection, check_who(who), name, fine_tune)

    def jobs(self) -> list[jobs.Job]:
        """What the worker process was asked to do, newest first."""
        with self.database.read() as connection:
            return jobs.list_jobs(connection)

    def cancel(self, job_id: int, who: str) -> None:
        """Stop a job; what is counted stays counted. Nothing happens where it has ended."""
        with self.database.write() as connection:
            jobs.cancel(connection, job_id, check_who(who))
