#!/usr/bin/env python3
"""Choose COUNTING.THRESHOLDS: as many cells count on a data set as are marked.

    python tools/choose_counting_thresholds.py --model ssd_lite --dataset bccd_relabelled_paper_val

Counts as ``bccd count`` does, at the magnification that it measures. The data set must be marked
completely, as the second annotation is, and must not be the one that is reported on.
"""

import argparse
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.utils.logger import setup_logger

from bccd.commands._model import add_model_options, model_choice
from bccd.counting.load import load_predictor
from bccd.counting.unbiased_thresholds import unbiased_thresholds
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import load_records
from bccd.data.sources.catalog import register_datasets


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="a registered name, or FORMAT:PATH")
    add_model_options(parser)
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    register_datasets()
    try:
        predictor = load_predictor(model_choice(args))
        if predictor.magnification is None:
            raise ValueError("COUNTING.RED_CELL_DIAMETER is 0: the model counts images as they are")
        records = load_records(args.dataset, predictor.class_names, need_boxes=True)
        fields = ((read_bgr(r["file_name"]), boxes_and_classes(r)[1]) for r in records)
        chosen = unbiased_thresholds(predictor, fields)
        if missing := [name for name in predictor.class_names if name not in chosen]:
            raise ValueError(f"no {missing[0]} is marked, by which its threshold could be chosen")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    values = ", ".join(f"{value:.4f}" for value in chosen.values())
    print(f'COUNTING.THRESHOLDS "({values},)"  # {", ".join(chosen)}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
