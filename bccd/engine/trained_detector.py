"""A trained detector with its weights."""

from detectron2.modeling import build_model

from bccd.data.classes import CLASS_NAMES
from bccd.engine.checkpoint import BCCDCheckpointer
from bccd.engine.classes import check_class_count
from bccd.engine.setup import available_device
from bccd.evaluation.operating_point import configured_thresholds, thresholds
from bccd.modeling.fast_inference.prepare import prepare_for_inference


def load_for_inference(cfg, *, resume=False):
    """Build the model of ``cfg`` with trained weights.

    Args:
        cfg (CfgNode): MODEL.WEIGHTS names the checkpoint.
        resume (bool): take the last checkpoint of OUTPUT_DIR, if there is one, instead.

    Returns:
        (nn.Module in eval mode, {class name: score threshold} or None): the thresholds are
        TEST.OPERATING_POINTS or, where that is empty, those in the checkpoint.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: MODEL.WEIGHTS is empty, the checkpoint does not fit the model, the model has
            other classes than CLASS_NAMES, or TEST.OPERATING_POINTS does not fit them.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
    configured = configured_thresholds(cfg.TEST.OPERATING_POINTS)
    model = build_model(cfg)
    checkpointer = BCCDCheckpointer(model, cfg.OUTPUT_DIR, require_all=True)
    if not cfg.MODEL.WEIGHTS and not (resume and checkpointer.has_checkpoint()):
        raise ValueError("MODEL.WEIGHTS is empty; name the checkpoint to use")
    rest = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    check_class_count(model)
    model.eval()
    points = rest.get("operating_points")
    if configured or not points:
        return model, configured
    if set(points) != set(CLASS_NAMES):
        raise ValueError(
            f"the checkpoint has operating points for {', '.join(points)}; expected "
            f"{', '.join(CLASS_NAMES)}: it was made for other classes"
        )
    return model, thresholds(points)


def load_prepared(cfg, *, resume=False):
    """As :func:`load_for_inference`, the model made faster as ``cfg.INFERENCE`` says."""
    model, points = load_for_inference(cfg, resume=resume)
    return prepare_for_inference(model, cfg.INFERENCE), points
