#!/usr/bin/env python
"""Train or evaluate a detector of this project; the flags are Detectron2's.

    python train_net.py --config-file configs/SSD/ssd_lite_bccd.yaml
    python train_net.py --config-file ... --resume
    python train_net.py --config-file ... --eval-only MODEL.WEIGHTS output/model_best.pth
    python train_net.py --config-file ... --num-gpus 2
    torchrun --nproc_per_node 2 train_net.py --config-file ...

Without CUDA, --num-gpus N starts N processes of the CPU.
"""

import sys
from argparse import Namespace

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.engine import default_argument_parser

from bccd.engine.command_line import launch_command
from bccd.engine.evaluate import evaluate
from bccd.engine.setup import setup
from bccd.engine.trainer import BCCDTrainer


def main(args: Namespace) -> dict | None:
    """Run in every process; ``args``: the parsed command line."""
    cfg = setup(args)
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    trainer = BCCDTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    sys.exit(launch_command(main, default_argument_parser().parse_args()))
