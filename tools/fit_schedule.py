#!/usr/bin/env python3
"""Print how many iterations of a training fit into a time on this machine.

    python tools/fit_schedule.py --config-file configs/SSD/ssd_lite_bccd.yaml --seconds 600

It trains for some iterations, writes nothing that stays, and prints one number for
SOLVER.MAX_ITER. Data loading is part of it, validation is not: leave time for that. Trainings that
will share a machine are measured side by side.
"""

import argparse
import tempfile
import time

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils.logger import setup_logger

from bccd.config import get_bccd_cfg
from bccd.data.sources.catalog import register_datasets
from bccd.engine.hooks import EarlyStop
from bccd.engine.setup import available_device, merge
from bccd.engine.trainer import BCCDTrainer

WARM_UP, TIMED = 15, 40


class Clock(HookBase):
    """Notes when each iteration ends, and ends the training before it writes a checkpoint."""

    def __init__(self, iterations: int) -> None:
        """``iterations``: after which the training ends."""
        self.iterations = iterations
        self.ends = []

    def after_step(self) -> None:
        """Note the time; the check of the losses has waited for the device."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.iterations:
            raise EarlyStop("The time of an iteration is known")


def seconds_per_iteration(cfg: CfgNode, timed: int = TIMED) -> float:
    """Mean time of ``timed`` iterations of the training ``cfg``, after some to warm up.

    Args:
        cfg: not frozen; changed to a short training at its full image size.
    """
    warm_up = min(WARM_UP, timed)
    cfg.SOLVER.MAX_ITER = warm_up + timed + 1
    cfg.SOLVER.CHECKPOINT_PERIOD = 10**9
    cfg.DATASETS.VAL = ()
    cfg.INPUT.LOW_RESOLUTION.SCALE = 1.0
    cfg.TEST.EXPECTED_RESULTS = []
    cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
    clock = Clock(warm_up + timed)
    with tempfile.TemporaryDirectory() as folder:
        cfg.OUTPUT_DIR = folder
        trainer = BCCDTrainer(cfg)
        trainer.resume_or_load(resume=False)
        trainer.register_hooks([clock])
        trainer.train()
    return (clock.ends[-1] - clock.ends[warm_up - 1]) / timed


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
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
    raise SystemExit(main())
