"""Images that become fields of a study, where they lie or copied into its folder."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, select

from bccd.counting.detection_files import printable
from bccd.counting.inputs import foreign_reason
from bccd.data.images.image_source import IMAGE_SUFFIXES
from bccd.data.images.own_pictures import is_marked
from bccd.data.images.slide_files import SLIDE_SUFFIXES
from bccd.study import tables
from bccd.study.database import note_event, now
from bccd.study.decoder import Decoder
from bccd.study.errors import StudyError
from bccd.study.field_list import NEW

if TYPE_CHECKING:  # it adds with this module
    from bccd.study.study import Study

IMAGES = "images"  # in the study's folder: what was dropped in
WHOLE = 120_000_000  # pixels up to which a slide is one field
WINDOW = 2048  # pixels, side of the fields that a larger slide is cut into
MOST_WINDOWS = 10_000
_SUFFIXES = (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES)


class Added(NamedTuple):
    """What became of images that were to be added.

    Attributes:
        ids: of the new fields.
        refused: name and reason of what is none.
    """

    ids: list[int]
    refused: list[tuple[str, str]]


class Found(NamedTuple):
    """An image in a file; see the table ``fields``."""

    page: int
    window: tuple[int, int, int, int] | None
    width: int
    height: int


def allowed_folders(connection: Connection) -> list[Path]:
    """Folders below which images may lie, beside the study's own."""
    return [Path(path) for path in connection.scalars(select(tables.folders.c.path))]


def check_allowed(study: Path, path: Path, folders: Iterable[Path]) -> Path:
    """The real path of a file that may be read.

    Args:
        study: folder of the study, whose ``images`` is always allowed.
        path: absolute; links in it are followed before it is judged.
        folders: others that are allowed.

    Raises:
        StudyError: it does not exist, or lies elsewhere.
    """
    if "\0" in str(path):
        raise StudyError("a path with a null character names no file")
    real = Path(os.path.realpath(path))
    allowed = [study / IMAGES, *folders]
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in allowed):
        raise StudyError(
            f"{printable(path)} lies outside of the folders of this study: copy it into one, or "
            "name its folder when the server is started"
        )
    if not real.exists():
        raise StudyError(f"{printable(path)} does not exist any more")
    return real


def add_images(study: "Study", paths: Sequence[str | os.PathLike], who: str) -> Added:
    """Add images, folders of images and slides where they lie; see ``Study.add``."""
    with study.database.read() as connection:
        folders = allowed_folders(connection)
    ids: list[int] = []
    refused: list[tuple[str, str]] = []
    for file, shown in _files(study.folder, paths, folders, refused):
        try:
            with study.pictures.decoders.one() as decoder:
                found = describe_file(decoder, file)
            ids += insert_fields(study, file, shown, found, who)
        except StudyError as error:
            refused.append((shown, str(error)))
    return Added(ids, refused)


def _files(study, paths, folders, refused) -> Iterator[tuple[Path, str]]:
    """The files that paths name, with the name of each; why others are none goes to ``refused``."""
    for given in paths:
        path = Path(os.path.abspath(Path(given).expanduser()))
        try:
            real = check_allowed(study, path, folders)
        except StudyError as error:
            refused.append((printable(path.name), str(error)))
            continue
        if not real.is_dir():
            yield real, printable(path.name)
            continue
        for file in sorted(real.rglob("*")):
            name = printable(file.relative_to(real).as_posix())
            if any(part.startswith(".") for part in file.relative_to(real).parts):
                continue
            if file.suffix.lower() not in _SUFFIXES or not file.is_file():
                if reason := foreign_reason(file):
                    refused.append((name, reason))
                continue
            try:
                yield check_allowed(study, file, folders), name  # a link may lead elsewhere
            except StudyError as error:
                refused.append((name, str(error)))


def describe_file(decoder: Decoder, file: Path) -> list[Found]:
    """The fields that a file holds.

    Raises:
        StudyError: it is no image that can be read, or a picture that this project drew.
    """
    if file.suffix.lower() == ".png" and is_marked(file):
        raise StudyError("a picture that this program drew: add the image itself")
    about, _ = decoder.ask({"do": "describe", "path": str(file)})
    if slide := about.get("slide"):
        return list(_windows(slide["width"], slide["height"]))
    return [Found(each["page"], None, each["width"], each["height"]) for each in about["images"]]


def _windows(width, height):
    """The fields that a slide is cut into, row by row; what is left at the edges joins the last."""
    if width * height <= WHOLE:
        yield Found(0, (0, 0, width, height), width, height)
        return
    columns, rows = max(1, width // WINDOW), max(1, height // WINDOW)
    if columns * rows > MOST_WINDOWS:
        raise StudyError(
            f"a slide of {width} x {height} pixels has more than {MOST_WINDOWS} fields: count it "
            "with bccd count, or export a part of it"
        )
    for row in range(rows):
        for column in range(columns):
            left, top = column * WINDOW, row * WINDOW
            right = width if column == columns - 1 else left + WINDOW
            bottom = height if row == rows - 1 else top + WINDOW
            yield Found(0, (left, top, right - left, bottom - top), right - left, bottom - top)


def insert_fields(
    study: "Study", file: Path, name: str, found: Sequence[Found], who: str
) -> list[int]:
    """Add the fields of a file; gives the numbers of those that are new.

    Args:
        study: to add to.
        file: real path.
        name: that people see.
        found: its fields.
        who: adds them.
    """
    own = Path(os.path.realpath(study.folder))
    path = str(file.relative_to(own)) if file.is_relative_to(own) else str(file)
    table, ids = tables.fields, []
    with study.database.write() as connection:
        known = connection.execute(
            select(table.c.page, table.c.window).where(table.c.path == path)
        ).all()
        there = {(row.page, row.window and tuple(row.window)) for row in known}
        for each in found:
            if (each.page, each.window) in there:
                continue
            values = {
                "name": _name_of(name, each),
                "path": path,
                "page": each.page,
                "window": each.window,
                "width": each.width,
                "height": each.height,
                "status": NEW,
                "notes": [],
                "added_by": who,
                "added_at": now(),
            }
            ids.append(connection.execute(table.insert().values(**values)).inserted_primary_key[0])
        if ids:
            note_event(connection, who, "add", {"file": path, "fields": len(ids)})
    if not ids:
        raise StudyError("it is in the study already")
    return ids


def _name_of(name, found):
    text = name if not found.page else f"{name}#{found.page}"
    if found.window and found.window[:2] != (0, 0):
        text += " at {}, {}".format(*found.window[:2])
    return text[-300:]
