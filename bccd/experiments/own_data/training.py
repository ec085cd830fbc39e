"""A training of own data, which goes on from its last checkpoint."""

import logging
from argparse import Namespace
from pathlib import Path

from detectron2.engine import default_argument_parser

from bccd.engine.launch import launch
from bccd.engine.setup import setup
from bccd.engine.trainer import BCCDTrainer

logger = logging.getLogger(__name__)


def train(config_file: Path, folder: Path, num_gpus: int = 1) -> None:
    """Train as ``train_net.py --resume`` does; nothing is done where that has ended.

    Args:
        config_file: its OUTPUT_DIR is ``folder``.
        folder: where ``model_final.pth`` then is.
        num_gpus: processes that train.
    """
    if (folder / "model_final.pth").is_file():
        return
    logger.info(f"{folder / 'log.txt'} has the progress")
    flags = ["--config-file", str(config_file), "--resume", "--num-gpus", str(num_gpus)]
    launch(_train_process, default_argument_parser().parse_args(flags))


def _train_process(args: Namespace) -> None:
    trainer = BCCDTrainer(setup(args))
    trainer.resume_or_load(resume=True)
    trainer.train()
