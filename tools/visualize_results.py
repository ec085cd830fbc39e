#!/usr/bin/env python
"""Draw an evaluation: best and worst images, precision-recall, scores, counts, training.

Example:
    python tools/visualize_results.py --results output/ssd_lite/inference \\
        --dataset bccd_paper_test --output figures

Images are ranked by F1 = 2 TP / (annotated + detected), over all classes and the detections that
reach their operating points. In best.png, worst.png and pairs/ the colour of a box is that of its
kind: correct, missed, badly placed, wrong class, duplicate, on nothing annotated, or correct only
by a second annotation (bccd_relabelled_<split>).
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.second_annotation import load_second_annotation
from bccd.evaluation.stored import Results, load_results
from bccd.visualization.curves import precision_recall_curves, read_metrics, training_curves
from bccd.visualization.errors import error_figure
from bccd.visualization.results import (
    choose_images,
    compare_images,
    count_scatter,
    score_histograms,
    truth_beside_prediction,
)
from bccd.visualization.style import save

PAIR_WIDTH = 12.0  # inches, for a screen


def get_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", required=True, type=Path, metavar="DIR", help="OUTPUT_DIR/inference"
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="what was evaluated")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--images", type=int, default=4, metavar="N", help="best and worst images to draw"
    )
    parser.add_argument(
        "--iou",
        type=float,
        metavar="T",
        help="from which a detection is correct; default: that of the operating points",
    )
    return parser


def draw_all(
    results: Results, second: dict | None, metrics_files: list[Path], count: int, output: Path
) -> list[Path]:
    """Write every figure into ``output`` and return their paths."""
    comparisons = compare_images(results, second)
    best, worst = comparisons[:count], comparisons[::-1][:count]
    figures = {
        "truth_beside_prediction": truth_beside_prediction(choose_images(comparisons, count)),
        "best": error_figure(best, results.iou),
        "worst": error_figure(worst, results.iou),
        "precision_recall": precision_recall_curves(results),
        "scores": score_histograms(results),
        "counts": count_scatter(results),
    }
    for file in metrics_files:
        figures["training"] = training_curves(
            read_metrics(file), results.class_names, results.class_colors
        )
    for comparison in best + worst:
        stem = Path(comparison.record["file_name"]).stem
        figures[f"pairs/{stem}"] = error_figure([comparison], results.iou, PAIR_WIDTH)
    return [save(figure, output / f"{name}.png") for name, figure in figures.items()]


def main(argv: list[str] | None = None) -> int:
    """Draw the figures and print where they are; a wrong command line exits with 2."""
    parser = get_parser()
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error("--images must be at least 1")
    if args.iou is not None and not 0.1 < args.iou <= 1:
        parser.error("--iou must be above 0.1 and at most 1")
    try:
        register_datasets(args.dataset)
        results = load_results(args.results, args.dataset)
        second = load_second_annotation(args.dataset, results.records, results.class_names)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    if args.iou is not None:
        results = replace(results, iou=args.iou)
    # beside the published results; above inference/, or above inference/<dataset>/
    folder = args.results.resolve()
    folders = (folder, *folder.parents[:2])
    metrics = [f / "metrics.json" for f in folders if (f / "metrics.json").is_file()]
    if not metrics:
        print(f"No metrics.json in or above {args.results}: no training curves", file=sys.stderr)
    print(*draw_all(results, second, metrics[:1], args.images, args.output), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
