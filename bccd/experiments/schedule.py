"""How many iterations of a training fit into a time on this machine."""

import tempfile
import time

from detectron2.config import CfgNode
from detectron2.engine import HookBase

from bccd.engine.hooks import EarlyStop
from bccd.engine.setup import available_device
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
    """Measure the mean time of an iteration of a training, data loading included.

    Nothing that is written stays. To measure trainings that will share a machine, run this function
    for all of them at the same time.

    Args:
        cfg: not frozen; changed to a short training at its full image size.
        timed: iterations that are measured, after some to warm up.
    """
    warm_up = min(WARM_UP, timed)
    cfg.SOLVER.MAX_ITER = warm_up + timed + 1
    cfg.SOLVER.CHECKPOINT_PERIOD = 10**9
    cfg.DATASETS.VAL = ()
    cfg.INPUT.LOW_RESOLUTION.ENABLED = False
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
