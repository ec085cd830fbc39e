"""Evaluation of a checkpoint, as ``train_net.py --eval-only`` does it."""

from detectron2.config import CfgNode
from detectron2.utils import comm

from bccd.engine.checkpoint import weights_to_evaluate, with_checkpoint_classes
from bccd.engine.expected_results import verify_expected_results
from bccd.engine.trained_detector import load_prepared
from bccd.engine.trainer import BCCDTrainer


def evaluate(cfg: CfgNode, *, resume: bool = False) -> dict:
    """Evaluate a checkpoint on DATASETS.TEST, counting at its operating points.

    The results are also written to ``OUTPUT_DIR/inference``. Every process of the run must call
    this function.

    Args:
        cfg: MODEL.WEIGHTS names the checkpoint.
        resume: evaluate the last checkpoint of OUTPUT_DIR instead, if there is one.

    Returns:
        The results of the main process, by data set if there are several.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint does not fit the model, or DATASETS.TEST cannot be evaluated.
    """
    cfg = with_checkpoint_classes(cfg, resume=resume)
    model, points = load_prepared(cfg, resume=resume)
    if points:
        cfg.TEST.OPERATING_POINTS = tuple(points.values())
    results = BCCDTrainer.test(cfg, model)
    if comm.is_main_process():
        weights = weights_to_evaluate(cfg, resume=resume)
        verify_expected_results(cfg, cfg.DATASETS.TEST, results, weights)
    return results
