#!/usr/bin/env python
"""Draw an evaluation: truth beside prediction, precision-recall, scores, counts, training.

Example:
    python tools/visualize_results.py --results output/ssd_lite/inference \\
        --dataset bccd_paper_test --output figures
"""

import argparse
import sys
from pathlib import Path

from detectron2.data import DatasetCatalog

from bccd.data.catalog import register_datasets
from bccd.visualization.curves import precision_recall_curves, read_metrics, training_curves
from bccd.visualization.demo import write_png
from bccd.visualization.results import (
    choose_images,
    compare_images,
    count_scatter,
    draw_pair,
    join_pair,
    load_results,
    score_histograms,
    truth_beside_prediction,
)
from bccd.visualization.style import save


def get_parser():
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
        "--images", type=int, default=4, metavar="N", help="pairs to draw, from best to worst F1"
    )
    return parser


def draw_all(results, metrics_files, count, output):
    """Write every figure into ``output`` and return their paths."""
    chosen = choose_images(compare_images(results), count)
    figures = {
        "truth_beside_prediction": truth_beside_prediction(chosen),
        "precision_recall": precision_recall_curves(results),
        "scores": score_histograms(results),
        "counts": count_scatter(results),
    }
    for file in metrics_files:
        figures["training"] = training_curves(read_metrics(file))
    paths = [save(figure, output / f"{name}.png") for name, figure in figures.items()]
    for comparison in chosen:
        stem = Path(comparison.record["file_name"]).stem
        paths.append(output / "pairs" / f"{stem}.png")
        write_png(paths[-1], join_pair(draw_pair(comparison)))
    return paths


def main(argv=None):
    """Draw the figures and print where they are; a wrong command line exits with 2."""
    parser = get_parser()
    args = parser.parse_args(argv)
    register_datasets()
    if args.dataset not in DatasetCatalog:
        parser.error(f"no dataset {args.dataset}; known: {', '.join(DatasetCatalog.list())}")
    if args.images < 1:
        parser.error("--images must be at least 1")
    try:
        results = load_results(args.results, DatasetCatalog.get(args.dataset))
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    # inference/ or, where several sets were evaluated, inference/<dataset>/ in the output folder
    folders = args.results.resolve().parents[:2]
    metrics = [f / "metrics.json" for f in folders if (f / "metrics.json").is_file()]
    if not metrics:
        print(f"No metrics.json above {args.results}: no training curves", file=sys.stderr)
    print(*draw_all(results, metrics[:1], args.images, args.output), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
