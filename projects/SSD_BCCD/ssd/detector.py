"""SSD as a Detectron2 meta-architecture (arXiv 1512.02325)."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from bccd.modeling.assigners.bipartite import BipartiteMatcher
from bccd.modeling.assigners.labels import AnchorLabels, label_anchors
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.sigmoid_options import refuse_sigmoid_options
from bccd.projects.ssd.head import SSDHead
from bccd.projects.ssd.losses import FocalGIoUL1Loss, MultiBoxLoss


@META_ARCH_REGISTRY.register()
class SSD(SingleStageDetector):
    """Single-shot detector on the feature maps of any Detectron2 backbone."""

    num_classes_key = "MODEL.SSD.NUM_CLASSES"

    @configurable
    def __init__(
        self, *, anchor_matcher: BipartiteMatcher, criterion: nn.Module, **shared: Any
    ) -> None:
        """
        Args:
            anchor_matcher: ``(M, A)`` IoU to matches and labels.
            criterion: a loss of ``losses.py``, which also turns logits into scores.
            shared: arguments of :class:`SingleStageDetector`.
        """
        super().__init__(**shared)
        self.anchor_matcher = anchor_matcher
        self.criterion = criterion

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.SSD has a value that cannot work.
        """
        ssd, shared = cfg.MODEL.SSD, shared_arguments(cfg, "SSD")
        shapes = shared["backbone"].output_shape()
        box2box_transform = Box2BoxTransform(weights=ssd.BBOX_REG_WEIGHTS)
        criterion = build_criterion(cfg, box2box_transform)
        head = SSDHead(
            [shapes[name] for name in ssd.IN_FEATURES],
            shared["anchor_generator"].num_anchors,
            criterion.num_scores(ssd.NUM_CLASSES),
            num_convs=ssd.NUM_CONVS,
            norm=ssd.NORM,
            prior=criterion.prior,
            recomputed=cfg.MODEL.ACTIVATION_CHECKPOINTING,
        )
        return {
            **shared,
            "head": head,
            "box2box_transform": box2box_transform,
            "anchor_matcher": BipartiteMatcher(ssd.IOU_THRESHOLD),
            "criterion": criterion,
        }

    @property
    def class_outputs(self) -> int:
        """Logits of a default box: with or without one for background."""
        return self.criterion.num_scores(self.num_classes)

    def scores(self, logits: Tensor) -> Tensor:
        """Class probabilities ``(..., K)``, by sigmoid or softmax as the loss trains them."""
        return self.criterion.scores(logits)

    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> AnchorLabels:
        """Match ground truth to default boxes (section 2.2, "Matching strategy"), on the host."""
        anchors = Boxes(Boxes.cat(predictions.anchors).tensor.cpu())
        truths = [truth.to("cpu") for truth in truths]
        return label_anchors(self.anchor_matcher, anchors, truths, self.num_classes)

    def matched(self, assigned: AnchorLabels) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`SingleStageDetector`."""
        classes = assigned.classes
        images, anchors = ((classes >= 0) & (classes < self.num_classes)).nonzero(as_tuple=True)
        return images, anchors, assigned.boxes[images, anchors]

    def losses(
        self, predictions: DensePredictions, assigned: AnchorLabels, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch; see ``losses.py`` for their names."""
        return self.criterion(
            torch.cat(predictions.logits, dim=1),
            torch.cat(predictions.boxes, dim=1),
            assigned.classes,
            assigned.boxes,
            assigned.anchors,
            unlabelled,
            assigned.overlap,
        )


def build_criterion(cfg: CfgNode, box2box_transform: Box2BoxTransform) -> nn.Module:
    """The loss that ``MODEL.SSD.LOSS`` names.

    Raises:
        ValueError: an unknown name, or a key that this loss does not read is set.
    """
    ssd = cfg.MODEL.SSD
    if ssd.LOSS == "focal_giou_l1":
        return FocalGIoUL1Loss(
            box2box_transform,
            alpha=ssd.ALPHA,
            gamma=ssd.GAMMA,
            class_weight=ssd.CLASS_WEIGHT,
            giou_weight=ssd.GIOU_WEIGHT,
            l1_weight=ssd.L1_WEIGHT,
            prior_prob=ssd.PRIOR_PROB,
            quality_scores=ssd.QUALITY_SCORES,
            missing_labels=MissingLabels.build(cfg, ssd.NUM_CLASSES),
        )
    if ssd.LOSS == "multibox":
        refuse_sigmoid_options(cfg, "SSD", "MODEL.SSD.LOSS focal_giou_l1")
        return MultiBoxLoss(
            box2box_transform,
            negative_ratio=ssd.NEGATIVE_RATIO,
            class_weight=ssd.CLASS_WEIGHT,
            smooth_l1_weight=ssd.SMOOTH_L1_WEIGHT,
        )
    raise ValueError(f'MODEL.SSD.LOSS is "{ssd.LOSS}", must be "focal_giou_l1" or "multibox"')
