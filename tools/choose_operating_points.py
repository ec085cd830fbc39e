#!/usr/bin/env python3
"""Choose the score thresholds for counting on a data set of your choice.

Training chooses them on DATASETS.VAL. BCCD lacks the labels of many red cells, so counts with these
thresholds are too low. Thresholds chosen on completely annotated images fit true counts:

    python tools/choose_operating_points.py --config-file configs/SSD/ssd_lite_bccd.yaml \\
        --dataset bccd_relabelled_paper_val --output output/ssd_lite/model_counting.pth \\
        MODEL.WEIGHTS output/ssd_lite/model_best.pth

This writes a copy of the checkpoint that counts with them, in demo.py and with --eval-only. Do not
choose them on the images that the final number is measured on.
"""

import argparse
import logging
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
from detectron2.utils.logger import setup_logger

from bccd.atomic_files import write_atomically
from bccd.config import get_bccd_cfg
from bccd.console import script
from bccd.data.sources.catalog import register_datasets
from bccd.engine.checkpoint import read_checkpoint, with_checkpoint_classes
from bccd.engine.checkpoint_operating_points import choose_for_checkpoint
from bccd.engine.setup import check_config, merge


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--dataset", required=True, help="registered name, or FORMAT:PATH")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs: MODEL.WEIGHTS ...")
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    cfg = get_bccd_cfg()
    register_datasets(args.dataset)
    merge(cfg, args.config_file, [*args.opts, "DATASETS.TEST", (args.dataset,)])
    cfg = with_checkpoint_classes(cfg)
    check_config(cfg, eval_only=True)
    checkpoint = read_checkpoint(cfg.MODEL.WEIGHTS)
    checkpoint["operating_points"] = choose_for_checkpoint(cfg, args.dataset)
    checkpoint["operating_points_dataset"] = args.dataset
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, lambda file: torch.save(checkpoint, file))
    logging.getLogger("bccd").info(f"{args.output} counts with {checkpoint['operating_points']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
