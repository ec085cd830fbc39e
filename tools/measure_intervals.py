#!/usr/bin/env python3
"""How often the 95% intervals of counts hold what is marked: results/intervals.json, its tables.

    python tools/measure_intervals.py
    python tools/measure_intervals.py --models output/lite/model_best.pth --output intervals.json

On the test images of three laboratories, with intervals chosen on the validation images of all of
them, and of the two others alone. Other models in the file stay. --page renews the tables of a page
from the file that is there.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.counting.counter import CellCounter
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.intervals import (
    LABORATORIES,
    count_side_by_side,
    coverage_table,
    mark_fields,
    measure_coverage,
    side_by_side_table,
)
from bccd.markdown import replace_table
from bccd.model_zoo import list_models

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list_models(), metavar="MODEL")
    parser.add_argument("--output", type=Path, default=ROOT / "results/intervals.json")
    parser.add_argument("--page", type=Path, help="renew the tables of this page; measure nothing")
    args = parser.parse_args(argv)
    if args.page:
        runs = json.loads(args.output.read_text())["runs"]
        page = replace_table(args.page.read_text(), coverage_table(runs), "coverage of intervals")
        args.page.write_text(replace_table(page, side_by_side_table(runs), "intervals stitched"))
        return 0
    register_datasets()
    kept = json.loads(args.output.read_text())["runs"] if args.output.is_file() else []
    runs = [run for run in kept if run["model"] not in args.models]
    for model in args.models:
        counter = CellCounter(model)
        calibration, tests = (
            {key: mark_fields(counter, f"{name}_{part}") for key, name in LABORATORIES.items()}
            for part in ("val", "test")
        )
        run = {**describe_measurement(), "model": model}
        run["coverage"] = measure_coverage(counter, calibration, tests)
        run["side_by_side"] = count_side_by_side(counter, calibration)
        runs.append(run)
    runs.sort(key=lambda run: run["model"])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    print(coverage_table(runs), "", side_by_side_table(runs), sep="\n")
    print(f"Written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
