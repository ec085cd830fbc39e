#!/usr/bin/env python3
"""Count fields side by side and at other magnifications: results/fields.json, and its tables.

    python tools/measure_fields.py
    python tools/measure_fields.py --models ssd_lite --fields 4 --output output/fields.json

The cells of the fields are marked by TXL-PBC, which datasets/README.md describes: its annotation of
BCCD, and its fields of two other laboratories. What is there of it is measured.
Other models in the file stay. ``--page`` renews the tables of a page from the file that is there.
Times are of the processor, of all its threads together: OMP_NUM_THREADS=1 compares best.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.console import CommandError, script
from bccd.counting.counter import CellCounter
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.records import load_records
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.fields import (
    SIDES,
    count_rescaled,
    count_stitched,
    rescaled_table,
    stitched_table,
)
from bccd.markdown import replace_table
from bccd.model_zoo import list_models

ROOT = Path(__file__).resolve().parents[1]
STITCHED = "bccd_relabelled_paper_test"  # completely marked, and not seen in training
RESULTS = ROOT / "results/fields.json"
RESCALED = (STITCHED, "txl_pbc_pbc_test", "txl_pbc_raabin_test")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list_models(), metavar="NAME")
    parser.add_argument(
        "--fields", type=int, default=16, metavar="N", help="fields of each set to rescale"
    )
    parser.add_argument(
        "--stitched-only", action="store_true", help="what was rescaled stays as it was measured"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, help="renew the tables of this page; measure nothing")
    return parser.parse_args(argv)


def find_fields() -> list[str]:
    """Those data sets of ``RESCALED`` that are there; the others are named on standard error.

    Raises:
        CommandError: none is there.
    """
    register_datasets()
    found = []
    for name in RESCALED:
        try:
            load_records(name, CLASS_NAMES)
            found.append(name)
        except FileNotFoundError as error:
            print(f"measure_fields: not measured on {name}: {error}", file=sys.stderr)
    if not found:
        raise CommandError("no marked fields: get TXL-PBC, which datasets/README.md describes")
    return found


def measure(args: argparse.Namespace, datasets: list[str], kept: list[dict]) -> list[dict]:
    """Everything, of every model, on those data sets of ``RESCALED``; ``kept``: earlier runs."""
    runs, earlier = [], {run["model"]: run for run in kept}
    for model in args.models:
        counter = CellCounter(model)
        run = {**describe_measurement(), "model": model, "stitched": [], "rescaled": []}
        if args.stitched_only and model in earlier:
            run["rescaled"] = earlier[model]["rescaled"]
        if STITCHED in datasets:
            stitched = load_records(STITCHED, counter.class_names)
            count_stitched(counter, stitched, 1)  # the first run is slower
            run["stitched"] = [
                count_stitched(counter, stitched, side, timed=5)
                for side in SIDES
                if side * side <= len(stitched)
            ]
        for name in datasets if not run["rescaled"] else ():
            records = load_records(name, counter.class_names)[: args.fields]
            run["rescaled"].append({"dataset": name, **count_rescaled(counter, records)})
        runs.append(run)
    return runs


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = parse_arguments(argv)
    if args.page:
        runs = json.loads(args.output.read_text())["runs"]
        page = replace_table(args.page.read_text(), stitched_table(runs), "fields stitched")
        args.page.write_text(replace_table(page, rescaled_table(runs), "fields rescaled"))
        return 0
    datasets = find_fields()
    if datasets != list(RESCALED) and args.output.resolve() == RESULTS:
        raise CommandError(f"{RESULTS.name} has all data sets: write a part to another --output")
    kept = json.loads(args.output.read_text())["runs"] if args.output.is_file() else []
    runs = [run for run in kept if run["model"] not in args.models]
    runs += measure(args, datasets, kept)
    runs.sort(key=lambda run: run["model"])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    print(stitched_table(runs), "", rescaled_table(runs), sep="\n")
    print(f"Written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
