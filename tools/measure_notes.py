#!/usr/bin/env python3
"""Precision and recall of the notes on counts: results/notes.json, and its tables.

    python tools/measure_notes.py
    python tools/measure_notes.py --models ssd_lite --fields 4 --output output/notes.json

Good test images of three laboratories are counted as they are, and spoiled: blurred, exposed too
long and too short, crowded, cropped, with noise, compressed; and pictures of something else.
--page renews the tables of a page, of the first model, from the file that is there.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.counting.counter import CellCounter
from bccd.data.images.decoding import read_bgr
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.spoiling import measure_notes, note_table, spoiling_table
from bccd.markdown import replace_table
from bccd.model_zoo import DEFAULT_MODEL

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL], metavar="MODEL")
    parser.add_argument(
        "--fields", type=int, default=6, metavar="N", help="of each laboratory that are spoiled"
    )
    parser.add_argument(
        "--pictures", nargs="+", metavar="FILE", help="pictures of something else than cells"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "results/notes.json")
    parser.add_argument("--page", type=Path, help="renew the tables of this page; measure nothing")
    args = parser.parse_args(argv)
    if args.page:
        rows = json.loads(args.output.read_text())["runs"][0]["images"]
        page = replace_table(args.page.read_text(), spoiling_table(rows), "notes of spoiled")
        args.page.write_text(replace_table(page, note_table(rows), "precision of notes"))
        return 0
    register_datasets()
    pictures = {Path(name).name: read_bgr(name) for name in args.pictures or ()}
    report = {**describe_measurement(), "runs": []}
    for model in args.models:
        rows = measure_notes(CellCounter(model), args.fields, pictures)
        report["runs"].append({"model": model, "images": rows})
        print(model, spoiling_table(rows), "", note_table(rows), sep="\n")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report) + "\n")
    print(f"Written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
