#!/usr/bin/env python3
"""Choose COUNTING.INTERVALS, of which the 95% intervals of counts are made, and store them.

    python tools/calibrate_intervals.py --model ssd_lite --store
    python tools/calibrate_intervals.py --model output/lite/model_best.pth --dataset coco:my.json

Counts as ``bccd count`` does, with the thresholds of the model: choose those first. Each data set
is of one laboratory, marked completely, and was not trained on; its fields need not be many, but
at least 19. --store writes what was chosen into the model's config: config.yaml beside a
checkpoint, the metadata of an .onnx file, or both the card and the .onnx file of a shipped model.
"""

import argparse
import json
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.utils.logger import setup_logger

from bccd.commands._model import add_model_options, model_choice
from bccd.counting.counter import CellCounter
from bccd.counting.fit_intervals import fit_intervals
from bccd.counting.load import load_predictor
from bccd.data.sources.catalog import register_datasets
from bccd.experiments.intervals import CALIBRATION_SETS, mark_fields
from bccd.export.stored_intervals import store_intervals
from bccd.model_zoo import DEFAULT_MODEL


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset",
        nargs="+",
        default=CALIBRATION_SETS,
        metavar="NAME",
        help="registered names, or FORMAT:PATH, one of each laboratory; default: "
        f"{' '.join(CALIBRATION_SETS)}",
    )
    parser.add_argument("--store", action="store_true", help="write them into the model's config")
    add_model_options(parser)
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    register_datasets()
    try:
        counter = CellCounter.of(load_predictor(model_choice(args)))
        fields = {name: mark_fields(counter, name) for name in args.dataset}
        scores = list(counter.thresholds.values())
        values = fit_intervals(counter.class_names, scores, fields).to_dict()
        print(json.dumps({key.upper(): value for key, value in values.items()}, indent=2))
        if args.store:
            path = store_intervals(args.model or DEFAULT_MODEL, values, args.config_file)
            print(f"Written to {path}")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
