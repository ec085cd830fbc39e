#!/usr/bin/env python3
"""Choose COUNTING.THRESHOLDS: as many cells count on data sets as are marked.

    python tools/choose_counting_thresholds.py --model ssd_lite --dataset bccd_relabelled_paper_val

Counts as ``bccd count`` does, at the magnification that it measures. The data sets must be
marked completely, as the second annotation is, and must not be those that are reported on.
"""

import argparse
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.utils.logger import setup_logger

from bccd.commands._model import add_model_options, model_choice
from bccd.counting.load import load_predictor
from bccd.data.sources.catalog import register_datasets
from bccd.experiments.counting_thresholds import choose_on


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", required=True, nargs="+", metavar="NAME", help="registered, or FORMAT:PATH"
    )
    add_model_options(parser)
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    register_datasets()
    try:
        chosen = choose_on(load_predictor(model_choice(args)), args.dataset)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    values = ", ".join(f"{value:.4f}" for value in chosen.values())
    print(f'COUNTING.THRESHOLDS "({values},)"  # {", ".join(chosen)}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
