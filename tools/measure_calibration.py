#!/usr/bin/env python3
"""Calibrate on ten fields of a laboratory and count in its test images: results/calibration.json.

    python tools/measure_calibration.py
    python tools/measure_calibration.py --model ssd_lite --draws 1 --no-fine-tuning

The fields are drawn from the training parts of TXL-PBC's two laboratories, several times. What is
measured already is kept in the output file, model by model, and not measured again without
``--again``. ``--page`` renews the tables of a page from the file that is there.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.commands._model import add_model_options, model_choice
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.calibration.measure import (
    calibration_table,
    changes_table,
    measure_calibration,
)
from bccd.experiments.json_files import write_json
from bccd.logs import log_to_console
from bccd.markdown import replace_table
from bccd.model_zoo import DEFAULT_MODEL

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("txl_pbc_raabin", "txl_pbc_pbc")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=DATASETS, metavar="NAME")
    parser.add_argument("--fields", type=int, default=10, metavar="N", help="that are corrected")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="of such fields")
    parser.add_argument("--test-fields", type=int, metavar="N", help="default: all")
    parser.add_argument("--no-fine-tuning", action="store_true")
    parser.add_argument("--iterations", type=int, metavar="N", help="of a fine-tuning")
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--output", type=Path, default=ROOT / "results/calibration.json")
    parser.add_argument("--page", type=Path, help="renew the tables of this page; measure nothing")
    add_model_options(parser)
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> list[dict]:
    """Every laboratory and draw; each run is in the output file as soon as it is measured."""
    register_datasets()
    log_to_console(0)
    choice = model_choice(args)
    model = choice.shipped_name or choice.model or DEFAULT_MODEL
    report = json.loads(args.output.read_text()) if args.output.is_file() else {"runs": []}
    about = describe_measurement()
    for dataset in args.datasets:
        for draw in range(args.draws):
            key = {"model": model, "dataset": dataset, "fields": args.fields, "draw": draw}
            known = [run for run in report["runs"] if key.items() <= run.items()]
            if known and not args.again:
                continue
            with tempfile.TemporaryDirectory() as folder:
                run = measure_calibration(
                    choice,
                    dataset,
                    Path(folder),
                    count=args.fields,
                    draw=draw,
                    fine_tune=not args.no_fine_tuning,
                    iterations=args.iterations,
                    tested=args.test_fields,
                )
            runs = [run for run in report["runs"] if run not in known]
            runs.append({"model": model, **run, **about})
            report["runs"] = sorted(runs, key=lambda r: (r["model"], r["dataset"], r["draw"]))
            args.output.parent.mkdir(parents=True, exist_ok=True)
            write_json(args.output, report)
    return report["runs"]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = parse_arguments(argv)
    if args.page:
        runs = json.loads(args.output.read_text())["runs"]
        page = replace_table(args.page.read_text(), calibration_table(runs), "calibration counts")
        args.page.write_text(replace_table(page, changes_table(runs), "calibration changes"))
        return 0
    runs = measure(args)
    print(calibration_table(runs), "", changes_table(runs), sep="\n")
    print(f"Written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
