"""Counting in the files of one part of an archive, into two tables."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from bccd.counting.archive.fetch import SLIDE, LocalFile, check_roots, fetch_ahead
from bccd.counting.archive.listing import ListedFile, Store
from bccd.counting.count_table import class_columns, read_table
from bccd.counting.counter import CellCounter
from bccd.counting.detection_files import CSV_NAME, DetectionFiles, Found
from bccd.counting.folder import count_each
from bccd.counting.inputs import Task
from bccd.counting.regions.per_image import Regions
from bccd.data.images.decoding import list_pages
from bccd.data.images.image_source import ImageSource
from bccd.data.images.own_pictures import is_marked
from bccd.data.images.slide_files import is_slide

# Columns of texts and, beside the counts, of whole numbers; others are numbers.
_TEXTS = ("file", "status", "scale", "notes", "source", "version")
_WHOLE = ("total", "area_px")
_BOX = ("x", "y", "width", "height")
_CELL = pa.schema(
    [("file", pa.string()), ("class", pa.string())]
    + [(name, pa.float64()) for name in (*_BOX, "score")]
    + [("source", pa.string())]
)


class Part(NamedTuple):
    """The results of some files.

    Attributes:
        counts: the rows of ``counts.csv``, and the columns ``source`` (URL of the file) and
            ``version`` (a text that changes with it).
        detections: a row for each counted cell: ``file``, ``class``, its box ``x``, ``y``,
            ``width``, ``height`` in pixels, ``score`` and ``source``.
    """

    counts: pa.Table
    detections: pa.Table


def count_part(
    files: Sequence[ListedFile], stores: Sequence[Store], counter: CellCounter, regions: Regions
) -> Part:
    """Count in the images of some files, each page of which is one, as in a folder.

    The next files are fetched and read while the model works. A file that cannot be read is a row
    that says why; pictures that this project drew have none.

    Args:
        files: of the part.
        stores: where they are, by index.
        counter: counts.
        regions: of interest.

    Raises:
        OSError: a store cannot be reached.
    """
    check_roots(stores)
    rows = PartRows()
    with tempfile.TemporaryDirectory(prefix="bccd-") as folder:
        tasks = _to_tasks(fetch_ahead(files, stores, Path(folder)), rows)
        with closing(count_each(tasks, counter, None, rows, regions)) as images:
            for _ in images:
                pass
    return rows.to_part(counter.settings)


def fail_part(files: Sequence[ListedFile], settings: dict, why: str) -> Part:
    """The part of files that cannot be counted; ``why``: the status of each."""
    rows = PartRows()
    for file in files:
        rows.skip(file, why)
    return rows.to_part(settings)


def _to_tasks(files: Iterable[LocalFile], rows: "PartRows") -> Iterator[Task]:
    """A task for each image; what has none is told to ``rows``."""
    for file in files:
        if file.path is None:
            rows.skip(file.file, file.error)
        elif is_slide(file.path):
            rows.skip(file.file, SLIDE)
        elif not (file.path.suffix.lower() == ".png" and is_marked(file.path)):
            yield from rows.expect(file, list_pages(file.path))


class PartRows:
    """Collects what is found in the images of a part; see ``folder.Notes``."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._owners, self._left = {}, Counter()
        self._outcomes = {}  # of images, in their order; None: none yet

    def expect(self, file: LocalFile, images: Sequence[ImageSource]) -> Iterator[Task]:
        """Tasks of the images in a file; its copy is removed after the last of them."""
        self._left[file.path] = len(images)
        for image in images:
            task = Task(image, None)
            self._owners[task] = file
            self._outcomes[file.file, image.page_suffix] = None
            yield task

    def skip(self, file: ListedFile, status: object) -> None:
        """Note why a file cannot be counted."""
        self._outcomes[file, ""] = str(status)

    def finish(self, task: Task, seen: object, found: Found) -> None:
        """Note what was found in an image."""
        self._end(task, found)

    def fail(self, task: Task, seen: object, error: object) -> None:
        """Note why an image cannot be counted."""
        self._end(task, str(error))

    def _end(self, task, outcome):
        file = self._owners[task]
        self._outcomes[file.file, task.file.page_suffix] = outcome
        self._left[file.path] -= 1
        if file.is_copy and not self._left[file.path]:
            file.path.unlink()

    def to_part(self, settings: dict) -> Part:
        """The tables, as ``DetectionFiles`` with these settings writes them."""
        class_names, cells = list(settings["threshold"]), []
        with tempfile.TemporaryDirectory(prefix="bccd-") as folder:
            with DetectionFiles(folder, settings) as files:
                for (file, page), outcome in self._outcomes.items():
                    name = file.name + page
                    if isinstance(outcome, str):
                        files.skip(name, outcome)
                        continue
                    files.add(name, outcome)
                    cells += _to_cells(name, file.source, outcome.detections, class_names)
            *rows, _ = read_table(Path(folder, CSV_NAME))  # the last are the totals
        for row, (file, page) in zip(rows, self._outcomes, strict=True):
            row |= {"file": file.name + page, "source": file.source, "version": file.version}
        return Part(to_counts(rows, class_names), pa.Table.from_pylist(cells, _CELL))


def _to_cells(name, source, detections, class_names):
    for cell in detections:
        box = dict(zip(_BOX, cell["bbox"], strict=True))
        class_name = class_names[cell["category_id"] - 1]
        yield {"file": name, "class": class_name, **box, "score": cell["score"], "source": source}


def to_counts(rows: Sequence[dict[str, str]], class_names: Sequence[str]) -> pa.Table:
    """Rows of ``counts.csv``, as ``read_table`` gives them, in a table; empty cells are null."""
    kinds = {pa.string(): str, pa.int64(): int, pa.float64(): float}
    numbers = class_columns(class_names)
    whole = {*_WHOLE, *numbers, *(f"{name}_{end}" for name in numbers for end in ("low", "high"))}

    def type_of(name):
        if name in _TEXTS:
            return pa.string()
        return pa.int64() if name in whole else pa.float64()

    schema = pa.schema([(name, type_of(name)) for name in rows[0]] if rows else [])
    columns = [
        [kinds[field.type](row[field.name]) if row[field.name] else None for row in rows]
        for field in schema
    ]
    return pa.table(columns, schema=schema)
