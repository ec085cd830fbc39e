"""The losses that ``MODEL.YOLOv3.LOSS`` names."""

from detectron2.config import CfgNode
from torch import nn

from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.objectness.balanced import BalancedLoss
from bccd.modeling.objectness.focal import FocalGIoUL1Loss
from bccd.modeling.sigmoid_boxes import decode_sigmoid_boxes, sigmoid_box_targets
from bccd.projects.yolov3.boxes import decode_exp_boxes, exp_box_targets, squash_exp_outputs
from bccd.projects.yolov3.losses import DarknetLoss

CHOICES = {
    "BOXES": ("exp", "sigmoid"),
    "ASSIGNMENT": ("best_anchor", "neighbour_cells"),
    "LOSS": ("darknet", "balanced", "focal_giou_l1"),
}
OPTIONS = {"darknet": "DARKNET_LOSS", "balanced": "BALANCED_LOSS", "focal_giou_l1": "FOCAL_LOSS"}


def check_choices(node: CfgNode) -> None:
    """Refuse what cannot work in ``MODEL.YOLOv3``.

    Raises:
        ValueError: names the key.
    """
    for key, choices in CHOICES.items():
        if node[key] not in choices:
            raise ValueError(
                f'MODEL.YOLOv3.{key} is "{node[key]}", must be one of {", ".join(choices)}'
            )
    if node.LOSS == "darknet" and (node.BOXES, node.ASSIGNMENT) != ("exp", "best_anchor"):
        raise ValueError(
            "MODEL.YOLOv3.LOSS darknet is for BOXES exp and ASSIGNMENT best_anchor; use balanced"
        )
    lists = {"CHANNELS": node.CHANNELS, "NUM_CONVS": node.NUM_CONVS}
    if node.LOSS == "balanced":
        lists["BALANCED_LOSS.BALANCE"] = node.BALANCED_LOSS.BALANCE
    for key, numbers in lists.items():
        if len(numbers) != len(node.IN_FEATURES):
            raise ValueError(
                f"MODEL.YOLOv3.{key} has {len(numbers)} numbers; it needs one for each of "
                f"IN_FEATURES, {list(node.IN_FEATURES)}"
            )


def build_criterion(cfg: CfgNode) -> nn.Module:
    """The loss that ``MODEL.YOLOv3.LOSS`` names, for the boxes of ``MODEL.YOLOv3.BOXES``."""
    node = cfg.MODEL.YOLOv3
    missing_labels = MissingLabels.build(cfg, node.NUM_CLASSES)
    coding = decode_sigmoid_boxes, sigmoid_box_targets, _doubled_sigmoid
    if node.BOXES == "exp":
        coding = decode_exp_boxes, exp_box_targets, squash_exp_outputs
    options = {key.lower(): value for key, value in node[OPTIONS[node.LOSS]].items()}
    if node.LOSS == "darknet":
        return DarknetLoss(**options, missing_labels=missing_labels)
    if node.LOSS == "balanced":
        return BalancedLoss(coding[0], **options, missing_labels=missing_labels)
    return FocalGIoUL1Loss(*coding, **options, missing_labels=missing_labels)


def _doubled_sigmoid(outputs):
    return 2 * outputs.sigmoid()
