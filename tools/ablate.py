#!/usr/bin/env python3
"""Train the rows of an ablation or of a search at one budget and write their table.

    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --rows baseline "without EMA"
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --collect
    python tools/ablate.py configs/searches/yolov8_lite.yaml

``bccd.experiments.ablation.read_ablation`` tells what the file holds. Each row and seed is a
``train_net.py --resume`` of its own in output/<folder of the file>/<file>/<row>/<seed>, and leaves
``model_best.pth`` there; what it prints is in ``train.out``. A finished training is left as it is,
a killed one goes on, and one that another process runs is skipped: start the command twice to use
two cores.

What is finished is then collected from these folders, by --collect without training, into
results/<folder of the file>/<file>.json and <file>.md. No test images are read.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.console import script
from bccd.data.sources.catalog import register_datasets
from bccd.experiments.ablation import check_rows, read_ablation
from bccd.experiments.ablation_results import ablation_table
from bccd.experiments.ablation_training import collect, train_all


def _parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="e.g. configs/ablations/sparse_rcnn_lite.yaml")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="train these only")
    parser.add_argument("--collect", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: output/<of FILE>")
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: results/<of FILE>")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... of every training"
    )
    args = parser.parse_args(argv)
    kind = args.file.resolve().parent.name  # ablations or searches
    args.output = args.output or Path("output", kind)
    args.results = args.results or Path("results", kind)
    return args


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parse(argv)
    register_datasets()
    succeeded = True
    ablation = read_ablation(args.file)
    rows = ablation.select(args.rows)
    output = args.output / ablation.name
    if not args.collect:
        check_rows(ablation, args.opts)
        succeeded = train_all(ablation, rows, output, args.opts)
    results = collect(ablation, output)
    table = ablation_table(results)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{ablation.name}.json").write_text(json.dumps(results, indent=2) + "\n")
    (args.results / f"{ablation.name}.md").write_text(table)
    print(table)
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
