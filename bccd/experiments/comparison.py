"""Tables of results, built from the files in ``results/``.

Rows are grouped by test set. The rows that ``results/references.json`` quotes follow those of the
same test set. ``results/README.md`` tells what a folder ``results/<row>/`` holds.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabulate import tabulate

from bccd.evaluation.machine import machine_in_words
from bccd.experiments.checkout import ROOT

REFERENCES = ROOT / "results" / "references.json"
FIRST_DATASETS = ("bccd_paper_test", "bccd_voc_test")
SUMMARY_HEADERS = (
    "detector",
    "test images",
    "AP [95% interval]",
    "AP50",
    "AP75 [95% interval]",
    "seconds per image",
    "counting error per image: ",  # and the classes
)
PER_CLASS_METRICS = ("AP", "AP75")
_COUNT_ERROR = "MAE-"


def read_row(folder: Path) -> dict:
    """One evaluation.

    Args:
        folder: holds evaluation.json and timing.json; row.json may give the row a ``name``
            and a ``note``, otherwise the folder's name is the row's.

    Returns:
        The content of evaluation.json with ``name`` and ``timing``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: row.json has another key.
    """
    row = {"name": folder.name.replace("_", " "), "note": ""}
    if (folder / "row.json").exists():
        given = json.loads((folder / "row.json").read_text())
        if unknown := given.keys() - row.keys():
            raise ValueError(f"{folder / 'row.json'}: unknown {unknown}; expected {set(row)}")
        row.update(given)
    return {
        **json.loads((folder / "evaluation.json").read_text()),
        "name": f"{row['name']} ({row['note']})" if row["note"] else row["name"],
        "timing": json.loads((folder / "timing.json").read_text()),
    }


def classes_of_rows(rows: Iterable[dict]) -> list[str]:
    """Names of the classes of rows as :func:`read_row` returns them, each once."""
    keys = (key for row in rows for key in row["count"] if key.startswith(_COUNT_ERROR))
    return [key.removeprefix(_COUNT_ERROR) for key in dict.fromkeys(keys)]


def summary_cells(row: dict, names: Sequence[str]) -> list[str]:
    """Cells of the table of results for what :func:`read_row` returns; ``names`` of classes."""
    errors = (row["count"].get(f"{_COUNT_ERROR}{name}") for name in names)
    return [
        row["name"],
        _images(row),
        _with_interval(row, "AP"),
        _fraction(row["bbox"]["AP50"]),
        _with_interval(row, "AP75"),
        f"{row['timing']['model_median']:.3f}",
        ", ".join("" if error is None else f"{error:.2f}" for error in errors),
    ]


def per_class_cells(row: dict, names: Sequence[str]) -> list[str]:
    """Cells of the table per class for what :func:`read_row` returns; ``names`` of classes."""
    metrics = [f"{metric}-{name}" for name in names for metric in PER_CLASS_METRICS]
    return [row["name"], _images(row), *(_with_interval(row, metric) for metric in metrics)]


def _images(row):
    return f"{row['images']}, {row['dataset']}"


def _with_interval(row, metric):
    value = _fraction(row["bbox"].get(metric))
    interval = row["intervals"].get("bbox", {}).get(metric)
    return f"{value} [{_fraction(interval[0])}, {_fraction(interval[1])}]" if interval else value


def _fraction(percent):
    return "n/a" if percent is None else f"{percent / 100:.3f}"


def results_table(folders: Iterable[Path], references: Path = REFERENCES) -> str:
    """The table of results as Markdown, quoted rows included, and where its numbers come from."""
    rows = _in_order(read_row(folder) for folder in folders)
    quoted = json.loads(references.read_text())
    datasets, names = {row["dataset"] for row in rows}, classes_of_rows(rows)
    quoted = [q for q in quoted if q["dataset"] in datasets]
    cells = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells += [summary_cells(row, names) for row in rows if row["dataset"] == dataset]
        cells += [_quoted_cells(q) for q in quoted if q["dataset"] == dataset]
    notes = [f"Times: {_machines(rows)}"]
    if sources := dict.fromkeys(q["source"] for q in quoted if "source" in q):
        notes.append(f"Quoted: {'; '.join(sources)}")
    headers = [*SUMMARY_HEADERS[:-1], SUMMARY_HEADERS[-1] + ", ".join(names)]
    return "\n\n".join([_markdown(cells, headers), *(f"{note}." for note in notes)])


def per_class_table(folders: Iterable[Path]) -> str:
    """AP of each class as Markdown."""
    rows = _in_order(read_row(folder) for folder in folders)
    names = classes_of_rows(rows)
    metrics = [f"{name}: {metric}" for name in names for metric in PER_CLASS_METRICS]
    cells = [per_class_cells(row, names) for row in rows]
    return _markdown(cells, ["detector", "test images", *metrics])


def _in_order(rows):
    """Test sets together, those of FIRST_DATASETS first; else as given."""
    order = {name: place for place, name in enumerate(FIRST_DATASETS)}
    return sorted(rows, key=lambda r: (order.get(r["dataset"], len(order)), r["dataset"]))


def _quoted_cells(quoted):
    aps = (
        _fraction(quoted[metric]) if metric in quoted else "" for metric in ("AP", "AP50", "AP75")
    )
    return [quoted["name"], quoted["images"], *aps, quoted.get("seconds", ""), ""]


def _machines(rows):
    """Each machine, with the rows that were timed on it where there are several machines."""
    names = defaultdict(list)
    for row in rows:
        text = machine_in_words(row["timing"]["machine"])
        names[text].append(f"{row['name']} on {row['dataset']}")
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{text} ({', '.join(of)})" for text, of in names.items())


def _markdown(cells, headers):
    return tabulate(cells, headers, tablefmt="pipe", disable_numparse=True)
