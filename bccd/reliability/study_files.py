"""Studies with damaged files: a database, images and pictures that something else wrote into."""

import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from bccd.reliability.good_study import WHO, copy_study, make_study, open_study, read_log
from bccd.reliability.mutations import JUNK, mutate_bytes, mutate_json
from bccd.reliability.run import CaseError, check_sentence
from bccd.study import Study, StudyError, results
from bccd.study.database import FILE
from bccd.study.decoder import Decoders

_TABLES = ("facts", "changes", "models", "fields", "detections", "operations", "events", "jobs")
_ASKED = 14  # of what a page asks, in each case
_PAGE = 4096  # bytes of a page of SQLite
_KINDS = ("csv", "json", "coco")  # of results; the others are made of the same


class StudyFiles:
    """A study one of whose files, or one of whose values in the database, is changed.

    A case fails where opening it, or anything that a page asks of it, raises what is no
    StudyError; or where something done by hand that SQLite could read is gone afterwards.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._decoders = Decoders(1)
        self._numbers = itertools.count()

    def prepare(self, folder: Path) -> None:
        """Make the study."""
        self._good = folder / "good"
        make_study(self._good, self._decoders)

    def run_case(self, random: Random, folder: Path) -> str:
        """Change one thing; returns what became of it."""
        case = folder / f"case {next(self._numbers)}"
        copy_study(self._good, case)
        try:
            changed = random.choice((_change_value, _change_value, _change_database, _change_file))
            changed(case, random)
            before = read_log(case)
            outcome = self._use(case, random)
            after = read_log(case)
            if before is not None and (after is None or after[: len(before)] != before):
                raise CaseError(f"{len(before)} corrections, then {after and len(after)}")
            return f"{changed.__name__.strip('_').replace('_', ' ')}: {outcome}"
        finally:
            shutil.rmtree(case, ignore_errors=True)

    def close(self) -> None:
        """End the process that reads images."""
        self._decoders.close()

    def _use(self, folder, random):
        try:
            study = open_study(folder, self._decoders)
        except StudyError as error:
            check_sentence(str(error), (folder.name,))
            return "refused"
        refused = 0
        try:
            for ask in _asks(study, folder, random):
                try:
                    ask()
                except StudyError as error:
                    check_sentence(str(error))
                    refused += 1
        finally:
            study.database.close()
        return "partly refused" if refused else "read"


def _asks(study: Study, folder: Path, random: Random) -> list[Callable[[], object]]:
    """What a page and a worker ask, some of it, in some order."""

    def edit(field):
        change = {"do": "add", "name": "RBC", "box": [1, 1, 20, 20]}
        study.edit(field, WHO, [change], study.field(field).row.version)

    asks: list[Callable[[], object]] = [
        lambda: study.name,
        study.settings,
        study.classes,
        study.models,
        study.allowed_folders,
        study.fields,
        lambda: study.fields(sort="count:RBC", text="f", noted=True),
        study.totals,
        study.change_number,
        study.jobs,
        lambda: study.count(WHO),
        lambda: study.set_thresholds(WHO, {"RBC": 0.5}),
        lambda: results.summary(study),
        lambda: results.agreement(study),
        *(lambda kind=kind: results.write(study, kind, folder / f"r.{kind}") for kind in _KINDS),
    ]
    for field in (1, 2, 3):
        asks += [
            lambda field=field: study.field(field),
            lambda field=field: study.next_uncertain(field),
            lambda field=field: edit(field),
            lambda field=field: study.undo(field, WHO),
            lambda field=field: study.redo(field, WHO),
            lambda field=field: study.thumbnail(field),
            lambda field=field: study.tile(field, 0, 0, 0),
        ]
    return random.sample(asks, _ASKED)


def _change_database(folder, random):
    """Bytes of the file, or a page of it."""
    path = folder / FILE
    content = path.read_bytes()
    if random.random() < 0.5:
        path.write_bytes(mutate_bytes(content, random))
        return
    start = random.randrange(len(content) // _PAGE) * _PAGE
    page = random.choice((b"\0" * _PAGE, random.randbytes(_PAGE), content[:_PAGE]))
    path.write_bytes(content[:start] + page + content[start + _PAGE :])


def _change_value(folder, random):
    """One value of one row of one table, by SQL: SQLite takes anything anywhere."""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        table = random.choice(_TABLES)
        rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        names = [each[1] for each in connection.execute(f"PRAGMA table_info({table})")]
        if not rows:
            return
        row, name = random.choice(rows), random.choice(names)
        value = _change(row[1 + names.index(name)], random)
        try:
            connection.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, row[0]))
            connection.commit()
        except (sqlite3.Error, OverflowError):  # what the tables do not take
            connection.rollback()


def _change(value, random):
    if isinstance(value, bytes):
        return mutate_bytes(value, random)
    if isinstance(value, str) and value[:1] in "[{" and value not in ("[]", "{}", ""):
        with_more = random.random() < 0.5 and _has_leaves(json.loads(value))
        return mutate_json(value, random) if with_more else value[: random.randrange(len(value))]
    junk = random.choice(JUNK)
    return json.dumps(junk) if isinstance(junk, list | dict | bool) else junk


def _has_leaves(value):
    values = value.values() if isinstance(value, dict) else value
    return any(not isinstance(v, dict | list) or _has_leaves(v) for v in values)


def _change_file(folder, random):
    """An image, or a picture that was made of one."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != FILE]
    path = random.choice(files)
    if random.random() < 0.2:
        path.unlink()
    else:
        path.write_bytes(mutate_bytes(path.read_bytes(), random))
