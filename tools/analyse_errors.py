#!/usr/bin/env python
"""Analyse the errors of stored detections: their kinds, and the AP that each kind costs.

Example:
    python tools/analyse_errors.py --results results/ssd_lite --dataset bccd_paper_test \\
        --output output/errors

This writes errors.json and errors.md. If the images have a second annotation
(bccd_relabelled_<split>), both also tell how many of the wrong detections are cells without a
label.
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.data.formats.coco import to_coco
from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.second_annotation import load_second_annotation
from bccd.evaluation.error_analysis import analyse_errors
from bccd.evaluation.error_page import format_page
from bccd.evaluation.stored import load_results


def get_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results",
        required=True,
        type=Path,
        metavar="DIR",
        help="with coco_instances_results.json (or .json.gz) and operating_points.json",
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="what was evaluated")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the two files and print where they are; a wrong command line exits with 2."""
    parser = get_parser()
    args = parser.parse_args(argv)
    try:
        register_datasets(args.dataset)
        results = load_results(args.results, args.dataset)
        second = load_second_annotation(args.dataset, results.records, results.class_names)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    if second is None:
        print(
            f"No second annotation of {args.dataset}: wrong detections are wrong", file=sys.stderr
        )
    second_truth = second and to_coco(second, results.class_names)
    analysis = analyse_errors(results.truth, results.detections, results.thresholds, second_truth)
    args.output.mkdir(parents=True, exist_ok=True)
    content = {
        "errors.json": json.dumps({"dataset": args.dataset, **analysis}, indent=2) + "\n",
        "errors.md": format_page(analysis, f"Errors on {args.dataset}"),
    }
    for name, text in content.items():
        (args.output / name).write_text(text, encoding="utf-8")
        print(args.output / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
