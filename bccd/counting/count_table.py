"""Counts of many images as a table that spreadsheets open."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from bccd.counting.area import CountedArea
from bccd.counting.summary import SLIDE, Tally

COUNTED, TOTAL = "ok", "total"  # of the column "status"
# The columns on either side of those of the classes.
_FIRST = ("file", "status")
_LAST = ("total", "diameter", "scale", "area_px", "area_mm2", "notes")

# Spreadsheets run a cell that begins with one of these, the full-width ones included.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


class CountTable:
    """A CSV file with one row per image, in the order in which they are added, and the totals last.

    Columns: ``file``; ``status``, which is ``ok`` or says why the image is not counted; the number
    of cells of each class, see :func:`class_columns`; ``total``; ``diameter`` of the red cells in
    pixels, and ``scale``, how it is known (see ``Scale``), where it is; ``area_px``, pixels in
    which cells were counted, and ``area_mm2``, the same in square millimetres where the size of a
    pixel is known; the 95% interval of each class, as ``RBC_low`` and ``RBC_high``, where there is
    one; ``notes``, why a count should not be trusted. Counts of an image that is not counted are
    empty. The last row has no ``file`` and the status ``total``.

    The encoding is UTF-8 with a byte-order mark, without which spreadsheets misread letters. All
    text is quoted and free of what a spreadsheet would run as a formula: a file name that begins
    like one has ``./`` put before it, which leaves its meaning.

    Attributes:
        totals: {class name: int}.
        tally, slides: what the summaries of fields and of slides are made of.
        images, counted, noted (int): rows, those with counts, and those of them with notes.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        """Create the file ``path``, replacing an older one. Use in a ``with`` block."""
        self._file = open(path, "w", encoding="utf-8-sig", newline="")  # noqa: SIM115
        self._csv = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        columns = class_columns(class_names)
        self._csv.writerow([*_FIRST, *columns, *_LAST[:-1], *_bounds(columns), _LAST[-1]])
        self.totals = dict.fromkeys(class_names, 0)
        self.tally, self.slides = Tally(class_names), Tally(class_names, SLIDE)
        self.images = self.counted = self.noted = 0

    def add(
        self,
        name: str,
        counts: Mapping[str, int],
        notes: Sequence[str] = (),
        scale: Sequence | None = None,
        area: Sequence | None = None,
        intervals: Mapping[str, Sequence[int]] | None = None,
        *,
        is_slide: bool = False,
    ) -> None:
        """Append the row of a counted image.

        Args:
            name: relative path of the image.
            counts: {class name: int}; classes that are not in it have none.
            notes: sentences.
            scale: diameter of red cells in pixels, and its source.
            area: see ``CountedArea``.
            intervals: {class name: (least, largest number)}.
            is_slide: it is no field.
        """
        counts = {key: counts.get(key, 0) for key in self.totals}
        for key, count in counts.items():
            self.totals[key] += count
        tally = self.slides if is_slide else self.tally
        tally.add(counts, area[0] if area else None, scale[0] if scale else None)
        self.images, self.counted = self.images + 1, self.counted + 1
        self.noted += bool(notes)
        self._row(
            safe_name(name), COUNTED, counts, safe_text(". ".join(notes)), scale, area, intervals
        )

    def skip(self, name: str, status: str) -> None:
        """Append the row of an image that is not counted; ``status`` says why."""
        self.images += 1
        self._row(safe_name(name), safe_text(status), dict.fromkeys(self.totals), "")

    def _row(self, name, status, counts, notes, scale=None, area=None, intervals=None):
        numbers = list(counts.values())
        total = None if None in numbers else sum(numbers)
        diameter, source = (round(scale[0], 1), scale[1]) if scale else (None, None)
        pixels, mm2 = (area[0], CountedArea(*area).mm2) if area else (None, None)
        about = [total, diameter, source, pixels, None if mm2 is None else float(f"{mm2:.6g}")]
        none = None, None
        bounds = [bound for key in counts for bound in (intervals or {}).get(key, none)]
        self._csv.writerow([name, status, *numbers, *about, *bounds, notes])
        self._file.flush()

    def close(self) -> None:
        """Append the totals and close the file."""
        notes = []
        if self.counted < self.images:
            notes.append(f"{self.images - self.counted} of {self.images} images are not counted")
        if self.noted:
            notes.append(f"{self.noted} of the counts should not be trusted")
        self._row("", TOTAL, self.totals, ". ".join(notes))
        self._file.close()

    def __enter__(self) -> "CountTable":
        """Return the table itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()


def class_columns(class_names: Sequence[str]) -> list[str]:
    """The column of each class: its name, or "class total" for a class that is called "total".

    So is a class whose name is another column's, or would run as a formula in a spreadsheet.
    """
    others = {*_FIRST, *_LAST, *_bounds(class_names)}
    columns, taken = [], {*others, *class_names}
    for name in class_names:
        column = safe_text(name)
        if column in others or column.startswith(_FORMULA_STARTS):
            column = f"class {column}"
        while column != name and column in taken:
            column = f"class {column}"
        columns.append(column)
        taken.add(column)
    return columns


def _bounds(columns):
    """The columns of the intervals."""
    return [f"{column}_{bound}" for column in columns for bound in ("low", "high")]


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of such a file as dicts of strings, the totals among them."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def safe_name(name: str) -> str:
    """A file's name that no spreadsheet runs as a formula, and that still names the file."""
    return f"./{name}" if name.startswith(_FORMULA_STARTS) or name[:1].isspace() else name


def safe_text(text: str) -> str:
    """One line without separators: a spreadsheet may take semicolons for those of cells."""
    return " ".join(text.replace(";", ",").replace('"', "'").split())
