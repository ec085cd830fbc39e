#!/usr/bin/env python3
"""Build the README's table of results from the files that ``train_net.py --eval-only`` wrote.

    python tools/compare.py                    # print the table of results/*/
    python tools/compare.py --readme README.md # write it between the README's two markers
    python tools/compare.py results/second_annotation/* --no-paper --readme docs/results.md

A folder ``results/<row>/`` holds ``evaluation.json`` and ``timing.json`` of one evaluation, copied
from its ``inference/``. Rows of the paper are its Table 1.
"""

import argparse
import json
import sys
from pathlib import Path

from tabulate import tabulate

from bccd.config import CLASS_NAMES

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# Table 1 of the paper (shared by all of its rows: its own split of 34 test images).
PAPER = (
    ("SSD", 0.326, 0.638, 0.278, 0.137),
    ("Sparse R-CNN", 0.591, 0.831, 0.715, 0.343),
    ("YOLOv8", 0.629, 0.917, 0.700, None),
    ("YOLOv7", 0.583, 0.880, 0.677, None),
    ("YOLOF", 0.575, 0.890, 0.657, None),
    ("YOLOv3", 0.459, 0.867, 0.453, None),
)
HEADERS = (
    "detector",
    "test images",
    "AP [95% interval]",
    "AP50",
    "AP75",
    "seconds per image",
    "counting error per image: " + ", ".join(CLASS_NAMES),
)


def paper_rows():
    """Rows of the paper's Table 1."""
    return [
        [f"{name}, the paper", "34, its split", *(f"{v:.3f}" for v in aps), seconds or "", ""]
        for name, *aps, seconds in PAPER
    ]


def measured_row(folder):
    """The row of one evaluation.

    Args:
        folder (Path): holds evaluation.json and timing.json.

    Returns:
        list of cells; "n/a" where there is no ground truth.

    Raises:
        FileNotFoundError: a file is missing.
    """
    evaluation = json.loads((folder / "evaluation.json").read_text())
    timing = json.loads((folder / "timing.json").read_text())
    bbox, count = evaluation["bbox"], evaluation["count"]
    interval = evaluation["intervals"].get("bbox", {}).get("AP")
    ap = _fraction(bbox["AP"])
    if interval:
        ap += f" [{_fraction(interval[0])}, {_fraction(interval[1])}]"
    return [
        folder.name.replace("_", " "),
        f"{evaluation['images']}, {evaluation['dataset']}",
        ap,
        _fraction(bbox["AP50"]),
        _fraction(bbox["AP75"]),
        f"{timing['model_median']:.3f}",
        ", ".join(f"{count[f'MAE-{name}']:.2f}" for name in CLASS_NAMES),
    ]


def _fraction(percent):
    return "n/a" if percent is None else f"{percent / 100:.3f}"


def results_table(folders, *, paper=True):
    """The table as Markdown, measured rows first and then, if wanted, those of the paper."""
    rows = [measured_row(folder) for folder in folders] + (paper_rows() if paper else [])
    return tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True)


def replace_table(text, table):
    """``text`` with ``table`` between the two markers.

    Raises:
        ValueError: a marker is missing.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"the markers {BEGIN} and {END} are missing")
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}"


def main(argv=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="default: results/*/")
    parser.add_argument("--readme", type=Path, help="write the table into this file")
    parser.add_argument("--no-paper", action="store_true", help="leave out the paper's rows")
    args = parser.parse_args(argv)
    folders = args.folders or sorted(f.parent for f in ROOT.glob("results/*/evaluation.json"))
    try:
        table = results_table(folders, paper=not args.no_paper)
        if args.readme:
            args.readme.write_text(replace_table(args.readme.read_text(), table))
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
