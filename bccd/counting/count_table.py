"""Counts of many images as a table that spreadsheets open."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

COUNTED, TOTAL = "ok", "total"  # of the column "status"

# Spreadsheets run a cell that begins with one of these, the full-width ones included.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


class CountTable:
    """A CSV file with one row per image, in the order in which they are added, and the totals last.

    Columns: ``file``; ``status``, which is ``ok`` or says why the image is not counted; the number
    of cells of each class; ``total``; ``diameter`` of the red cells in pixels, and ``scale``, how
    it is known (see ``Scale``), where it is; the 95% interval of each class, as ``RBC_low`` and
    ``RBC_high``, where there is one; ``notes``, why a count should not be trusted. Counts
    of an image that is not counted are empty. The last row has no ``file`` and the status
    ``total``.

    The encoding is UTF-8 with a byte-order mark, without which spreadsheets misread letters. All
    text is quoted and free of what a spreadsheet would run as a formula: a file name that begins
    like one has ``./`` put before it, which leaves its meaning.

    Attributes:
        totals: {class name: int}.
        images, counted, noted (int): rows, those with counts, and those of them with notes.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        """Create the file ``path``, replacing an older one. Use in a ``with`` block."""
        self._file = open(path, "w", encoding="utf-8-sig", newline="")  # noqa: SIM115
        self._csv = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        bounds = [f"{name}_{bound}" for name in class_names for bound in ("low", "high")]
        about = ["diameter", "scale", *bounds, "notes"]
        self._csv.writerow(["file", "status", *class_names, "total", *about])
        self.totals = dict.fromkeys(class_names, 0)
        self.images = self.counted = self.noted = 0

    def add(
        self,
        name: str,
        counts: Mapping[str, int],
        notes: Sequence[str] = (),
        scale: Sequence | None = None,
        intervals: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Append the row of a counted image.

        Args:
            name: relative path of the image.
            counts: {class name: int}; classes that are not in it have none.
            notes: sentences.
            scale: diameter of red cells in pixels, and its source.
            intervals: {class name: (least, largest number)}.
        """
        counts = {key: counts.get(key, 0) for key in self.totals}
        for key, count in counts.items():
            self.totals[key] += count
        self.images, self.counted = self.images + 1, self.counted + 1
        self.noted += bool(notes)
        self._row(_name(name), COUNTED, counts, _text(". ".join(notes)), scale, intervals)

    def skip(self, name: str, status: str) -> None:
        """Append the row of an image that is not counted; ``status`` says why."""
        self.images += 1
        self._row(_name(name), _text(status), dict.fromkeys(self.totals), "")

    def _row(self, name, status, counts, notes, scale=None, intervals=None):
        numbers = list(counts.values())
        total = None if None in numbers else sum(numbers)
        diameter, source = (round(scale[0], 1), scale[1]) if scale else (None, None)
        none = None, None
        bounds = [bound for key in counts for bound in (intervals or {}).get(key, none)]
        self._csv.writerow([name, status, *numbers, total, diameter, source, *bounds, notes])
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


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of such a file as dicts of strings, the totals among them."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _name(name):
    return f"./{name}" if name.startswith(_FORMULA_STARTS) or name[:1].isspace() else name


def _text(text):
    """One line without separators: a spreadsheet may take semicolons for those of cells."""
    return " ".join(text.replace(";", ",").replace('"', "'").split())
