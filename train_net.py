#!/usr/bin/env python
"""Train or evaluate a detector of this project; the flags are Detectron2's.

    python train_net.py --config-file configs/SSD/ssd_lite_bccd.yaml
    python train_net.py --config-file ... --resume
    python train_net.py --config-file ... --eval-only MODEL.WEIGHTS output/model_best.pth
    python train_net.py --config-file ... --num-gpus 2
    torchrun --nproc_per_node 2 train_net.py --config-file ...

Without CUDA, --num-gpus N starts N processes of the CPU.
"""

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from bccd.data.classes import CLASS_NAMES
from bccd.engine.checkpoint import weights_to_evaluate
from bccd.engine.expected_results import verify_expected_results
from bccd.engine.launch import launch
from bccd.engine.setup import setup
from bccd.engine.trained_detector import load_prepared
from bccd.engine.trainer import BCCDTrainer


def evaluate(cfg, *, resume=False):
    """Evaluate a checkpoint on DATASETS.TEST, counting at its operating points.

    Args:
        cfg (CfgNode): MODEL.WEIGHTS names the checkpoint.
        resume (bool): take the last checkpoint of OUTPUT_DIR instead.

    Returns:
        dict: results of the main process, nested by dataset if there are several.
    """
    model, points = load_prepared(cfg, resume=resume)
    if points:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.TEST.OPERATING_POINTS = tuple(points[name] for name in CLASS_NAMES)
    results = BCCDTrainer.test(cfg, model)
    if comm.is_main_process():
        weights = weights_to_evaluate(cfg, resume=resume)
        verify_expected_results(cfg, cfg.DATASETS.TEST, results, weights)
    return results


def main(args):
    """Run in every process; ``args``: the parsed command line."""
    cfg = setup(args)
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    trainer = BCCDTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    launch(main, default_argument_parser().parse_args())
