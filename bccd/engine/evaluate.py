"""Evaluation of a checkpoint, as ``train_net.py --eval-only`` does it."""

from detectron2.config import CfgNode
from detectron2.utils import comm

from bccd.data.classes import CLASS_NAMES
from bccd.engine.checkpoint import weights_to_evaluate
from bccd.engine.expected_results import verify_expected_results
from bccd.engine.predictor import load_prepared
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
