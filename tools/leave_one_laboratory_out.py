#!/usr/bin/env python3
"""Train on all laboratories but one, and measure on that one: results/laboratories.json, its table.

    python tools/complete_labels.py
    python tools/leave_one_laboratory_out.py --models ssd_lite --iterations 800

Beside these models one is trained on each laboratory alone, and one on all. A run that was
interrupted goes on; a model that was measured is not trained again. The training "shipped" is the
model for any laboratory that comes with the project. With ``--no-training`` the models that lie in
``--trained`` are measured, each in a folder <model>_<training> with its config.yaml and
model_best.pth: trained by this command elsewhere. ``--page`` renews the table of a page from the
file that is there.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments import laboratories
from bccd.experiments.checkout import ROOT
from bccd.experiments.json_files import write_json
from bccd.experiments.runner import run_commands
from bccd.markdown import replace_table

MODELS = ("ssd_lite", "sparse_rcnn_lite")
TRAININGS = [*laboratories.trainings(), laboratories.SHIPPED]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument(
        "--trainings", nargs="+", choices=TRAININGS, default=TRAININGS, metavar="NAME"
    )
    parser.add_argument("--iterations", type=int, help="of each training; default: the config's")
    parser.add_argument("--trained", type=Path, default=ROOT / "output/laboratories", metavar="DIR")
    parser.add_argument("--no-training", action="store_true", help="measure what lies there")
    parser.add_argument("--output", type=Path, default=ROOT / "results/laboratories.json")
    parser.add_argument("--page", type=Path, help="renew the table of this page; measure nothing")
    return parser.parse_args(argv)


def measure(args: argparse.Namespace, model: str, training: str) -> dict:
    """Train, evaluate and count; what results/laboratories.json holds of one training."""
    trained = args.trained / f"{model}_{training}"
    evaluated = args.trained / f"{model}_{training}_test"
    measurement = describe_measurement()
    weights, iterations = laboratories.weights_of(model, training, trained), None
    if training != laboratories.SHIPPED:
        if not args.no_training:
            run_commands([laboratories.train_command(model, training, trained, args.iterations)])
        iterations = laboratories.read_iterations(trained)
    run_commands([laboratories.evaluate_command(model, weights, evaluated)])
    found = laboratories.read_evaluation(evaluated)
    counts = laboratories.count_tests(weights, training)
    return {
        **measurement,
        "model": model,
        "training": training,
        "iterations": iterations,
        "laboratories": {name: {**found[name], "counts": counts[name]} for name in found},
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = parse_arguments(argv)
    report = json.loads(args.output.read_text()) if args.output.is_file() else {"runs": []}
    if args.page:
        table = laboratories.laboratories_table(report["runs"], CLASS_NAMES)
        args.page.write_text(replace_table(args.page.read_text(), table, "laboratories"))
        return 0
    register_datasets()
    for model in args.models:
        for training in args.trainings:
            kept = [r for r in report["runs"] if (r["model"], r["training"]) == (model, training)]
            if kept and args.iterations in (None, kept[0]["iterations"]):
                continue
            is_shipped, folder = training == laboratories.SHIPPED, f"{model}_{training}"
            if args.no_training and not (
                is_shipped or laboratories.is_trained(args.trained / folder)
            ):
                print(f"Not measured: no training lies in {args.trained / folder}")
                continue
            run = measure(args, model, training)
            report["runs"] = [r for r in report["runs"] if r not in kept] + [run]
            write_json(args.output, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
