#!/usr/bin/env python3
"""Print how many iterations of a training fit into a time on this machine.

    python tools/fit_schedule.py --config-file configs/SSD/ssd_lite_bccd.yaml --seconds 600

It trains for some iterations, writes nothing that stays, and prints one number for
SOLVER.MAX_ITER. Data loading is included and validation is not: leave time for that. Trainings that
will share a machine are measured side by side.
"""

import argparse
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.utils.logger import setup_logger

from bccd.config import get_bccd_cfg
from bccd.console import script
from bccd.data.sources.catalog import register_datasets
from bccd.engine.setup import merge
from bccd.experiments.schedule import TIMED, seconds_per_iteration


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--seconds", required=True, type=float, help="time of the whole training")
    parser.add_argument("--timed", type=int, default=TIMED, help="iterations that are timed")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    register_datasets()
    cfg = get_bccd_cfg()
    merge(cfg, args.config_file, args.opts)
    print(max(1, int(args.seconds / seconds_per_iteration(cfg, timed=args.timed))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
