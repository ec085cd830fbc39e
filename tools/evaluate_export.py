#!/usr/bin/env python3
"""Evaluate exported detectors on a registered data set, and time them in turn.

    python tools/evaluate_export.py ssd_lite.onnx ssd_lite_int8.onnx \\
        --dataset bccd_paper_val --output output/exports
    python tools/evaluate_export.py ssd_lite.onnx --eager ssd_lite --runtime onnx openvino \\
        --dataset bccd_paper_val --output output/exports

Each file is evaluated like a checkpoint by train_net.py --eval-only, into a folder of its own below
the output folder. comparison.json holds AP, AP75, the counting error and the time of each file, and
how many times as fast as the first file it is.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
from detectron2.utils.logger import setup_logger

from bccd.benchmark.exported import EagerPredictor, evaluate_exported, time_in_turn
from bccd.benchmark.table import exports_table
from bccd.console import script
from bccd.data.sources.catalog import register_datasets
from bccd.engine.shipped_models import load_config
from bccd.evaluation.machine import describe_measurement
from bccd.export.runtime import RUNTIMES, ExportedPredictor, default_runtime

METRICS = {"bbox": ("AP", "AP50", "AP75"), "count": ("MAE",)}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an exported detector")
    parser.add_argument("--dataset", required=True, help="registered name, e.g. bccd_paper_val")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--runtime",
        nargs="+",
        choices=RUNTIMES,
        help="run every file in those that read it; default: one",
    )
    parser.add_argument("--eager", metavar="MODEL", help="a shipped model, first: without a file")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bootstrap-samples", type=int, default=1000, help="0: no intervals")
    return parser.parse_args(argv)


def load_predictors(args: argparse.Namespace) -> dict[str, ExportedPredictor | EagerPredictor]:
    """{name: predictor} of the eager model and every file in every runtime that reads it."""
    pairs = [(r, f) for f in args.files for r in _runtimes(f, args.runtime)]
    files = {f"{file.name} in {r}": ExportedPredictor(r, file) for r, file in pairs}
    if len(files) < len(pairs):
        raise ValueError("two of the files have the same name: their results would be mixed up")
    eager = {}
    if args.eager:
        eager[f"{args.eager} in eager"] = EagerPredictor(load_config(args.eager))
    return eager | files


def _runtimes(file, wanted):
    default = default_runtime(file)
    runtimes = [r for r in wanted or [default] if RUNTIMES[r].suffix == file.suffix]
    if not runtimes:
        raise ValueError(f"{file}: no --runtime reads it; add {default}")
    return runtimes


def describe(
    name: str, predictor: ExportedPredictor | EagerPredictor, results: dict, times: dict
) -> dict:
    """The entry of one file in comparison.json."""
    metrics = {k: results[task].get(k) for task, keys in METRICS.items() for k in keys}
    metadata = predictor.metadata
    return {
        "file": name,
        "precision": metadata.precision,
        "calibration": metadata.calibration,
        **metrics,
        **times,
    }


def compare(args: argparse.Namespace) -> dict:
    """Evaluate and time every file; returns the contents of comparison.json."""
    predictors = load_predictors(args)
    results = [
        evaluate_exported(
            p, args.dataset, args.output / name.replace(" in ", "-"), args.bootstrap_samples
        )
        for name, p in predictors.items()
    ]
    measurement = describe_measurement()  # the evaluation before it keeps the machine busy
    times = time_in_turn(list(predictors.values()), args.dataset)
    found = zip(predictors, predictors.values(), results, times, strict=True)
    rows = [describe(*each) for each in found]
    return {**measurement, "dataset": args.dataset, "files": rows}


@script
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    setup_logger(name="bccd")
    register_datasets(args.dataset)
    report = compare(args)
    path = args.output / "comparison.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{exports_table(report['files'])}\n\n{report['machine']}\nWritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
