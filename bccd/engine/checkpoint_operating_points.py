"""Choosing the score thresholds of a trained detector on a data set of its own."""

from detectron2.config import CfgNode

from bccd.data.loading.loader import build_test_loader
from bccd.engine.trained_detector import load_prepared
from bccd.evaluation.evaluator import CHOOSE, BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.modeling.tta import with_tta


def choose_for_checkpoint(cfg: CfgNode, dataset: str) -> dict[str, dict]:
    """Operating points of the checkpoint MODEL.WEIGHTS on a registered data set.

    Args:
        cfg: of the detector, with its classes; TEST.AUG applies.
        dataset: its name.

    Returns:
        {class name: {"threshold", "precision", "recall", "f1"}}.

    Raises:
        FileNotFoundError, ValueError: the checkpoint or the data set cannot be used.
    """
    model, cfg = with_tta(load_prepared(cfg)[0], cfg)
    evaluator = BCCDEvaluator(
        dataset,
        class_names=cfg.MODEL.CLASS_NAMES,
        operating_points=CHOOSE,
        bootstrap_samples=0,
        iou=cfg.TEST.OPERATING_POINT_IOU,
    )
    inference_on_dataset(model, build_test_loader(cfg, dataset), evaluator)
    return evaluator.chosen_points
