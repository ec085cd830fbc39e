"""What the configs of all dense detectors say alike."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import build_anchor_generator, build_backbone

from bccd.modeling.activation_checkpointing import recompute_backbone


def shared_arguments(cfg: CfgNode, name: str) -> dict[str, Any]:
    """The arguments of :class:`.dense.SingleStageDetector` but the head, from any config.

    Args:
        cfg: its node ``MODEL.<name>`` has NUM_CLASSES, IN_FEATURES, SCORE_THRESH_TEST,
            TOPK_CANDIDATES_TEST and NMS_THRESH_TEST; MODEL.ANCHOR_GENERATOR says where anchors are.
        name: of the detector's node below MODEL.

    Raises:
        ValueError: a key of the node has a value that cannot work.
    """
    node = cfg.MODEL[name]
    if node.NUM_CLASSES < 1:
        raise ValueError(f"MODEL.{name}.NUM_CLASSES is {node.NUM_CLASSES}, must be at least 1")
    backbone = build_backbone(cfg)
    if cfg.MODEL.ACTIVATION_CHECKPOINTING:
        recompute_backbone(backbone)
    shapes = backbone.output_shape()
    if unknown := [feature for feature in node.IN_FEATURES if feature not in shapes]:
        raise ValueError(
            f"MODEL.{name}.IN_FEATURES has {unknown}; {cfg.MODEL.BACKBONE.NAME} gives "
            f"{list(shapes)}"
        )
    in_shapes = [shapes[feature] for feature in node.IN_FEATURES]
    return {
        "backbone": backbone,
        "head_in_features": node.IN_FEATURES,
        "anchor_generator": build_anchor_generator(cfg, in_shapes),
        "num_classes": node.NUM_CLASSES,
        "score_threshold": node.SCORE_THRESH_TEST,
        "topk_candidates": node.TOPK_CANDIDATES_TEST,
        "nms_threshold": node.NMS_THRESH_TEST,
        "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
    }
