"""A trained detector with its weights."""

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from bccd.engine.checkpoint import (
    BCCDCheckpointer,
    weights_to_evaluate,
    with_checkpoint_classes,
)
from bccd.engine.checkpoint_classes import CheckpointClasses
from bccd.engine.classes import check_class_count
from bccd.engine.setup import available_device
from bccd.evaluation.operating_point import (
    configured_thresholds,
    match_thresholds,
    thresholds,
)
from bccd.modeling.fast_inference.prepare import prepare_for_inference


def load_for_inference(
    cfg: CfgNode, *, resume: bool = False
) -> tuple[nn.Module, dict[str, float] | None]:
    """Build the model of ``cfg`` with trained weights.

    Args:
        cfg: MODEL.WEIGHTS names the checkpoint.
        resume: take the last checkpoint of OUTPUT_DIR, if there is one, instead.

    Returns:
        (nn.Module in eval mode, {class name: score threshold} or None): the thresholds are
        TEST.OPERATING_POINTS or, where that is empty, those in the checkpoint.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: MODEL.WEIGHTS is empty, the checkpoint does not fit the model or has other
            classes than it, or TEST.OPERATING_POINTS does not fit them.
    """
    if not weights_to_evaluate(cfg, resume=resume):
        raise ValueError("MODEL.WEIGHTS is empty; name the checkpoint to use")
    cfg = with_checkpoint_classes(cfg, resume=resume)
    cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
    class_names = tuple(cfg.MODEL.CLASS_NAMES)
    model = build_model(cfg)
    check_class_count(model, class_names)
    configured = configured_thresholds(cfg.TEST.OPERATING_POINTS, class_names)
    checkpointer = BCCDCheckpointer(
        model, cfg.OUTPUT_DIR, require_all=True, classes=CheckpointClasses(cfg, model)
    )
    rest = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    model.eval()
    points = rest.get("operating_points")
    if configured or not points:
        return model, configured
    return model, match_thresholds(thresholds(points), class_names, "the checkpoint")


def load_prepared(
    cfg: CfgNode, *, resume: bool = False
) -> tuple[nn.Module, dict[str, float] | None]:
    """As :func:`load_for_inference`, the model made faster as ``cfg.INFERENCE`` says."""
    model, points = load_for_inference(cfg, resume=resume)
    return prepare_for_inference(model, cfg.INFERENCE), points
