"""YOLOF as a Detectron2 meta-architecture (arXiv 2103.09460)."""

from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recompute
from bccd.modeling.assigners.labels import IGNORED
from bccd.modeling.assigners.uniform import match_uniformly
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.losses import giou_loss, is_class, mean_over_processes, sigmoid_focal_loss
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.precision import full_precision
from bccd.projects.yolof.box_transform import CentreClampedBox2BoxTransform
from bccd.projects.yolof.decoder import Decoder
from bccd.projects.yolof.encoder import DilatedEncoder


class YOLOFHead(nn.Module):
    """Encoder and decoder, on one feature map."""

    def __init__(self, encoder: DilatedEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See :class:`SingleStageDetector`."""
        logits, deltas = self.decoder(self.encoder(features[0]))
        return [logits], [deltas]


@dataclass
class UniformTargets:
    """Targets of N images with A anchors; T pairs of an anchor and a ground truth in all.

    Attributes:
        classes: (N, A) int64; K for background, IGNORED for anchors that no loss counts.
        overlap: (N, A) largest IoU that the prediction has with any ground truth.
        images, anchors: (T,) int64, the pairs that the box losses count; one may be there twice.
        boxes: (T, 4) XYXY, ground truth of the pairs.
    """

    classes: Tensor
    overlap: Tensor
    images: Tensor
    anchors: Tensor
    boxes: Tensor


@META_ARCH_REGISTRY.register()
class YOLOF(SingleStageDetector):
    """You Only Look One-level Feature, on a feature map of any Detectron2 backbone."""

    num_classes_key = "MODEL.YOLOF.NUM_CLASSES"
    benchmark_parts = (
        (r"head\.encoder", ("forward",), "encoder"),
        (r"head\.decoder", ("forward",), "decoder"),
    )

    @configurable
    def __init__(
        self,
        *,
        topk: int,
        min_anchor_iou: float,
        max_negative_iou: float,
        alpha: float,
        gamma: float,
        class_weight: float,
        giou_weight: float,
        l1_weight: float,
        missing_labels: MissingLabels,
        **shared: Any,
    ) -> None:
        """
        Args:
            topk, min_anchor_iou, max_negative_iou: see :func:`match_uniformly`.
            alpha, gamma: of the focal loss (arXiv 1708.02002, equation 5).
            class_weight, giou_weight, l1_weight: factors of the losses; L1 is of encoded deltas.
            missing_labels: negatives to leave out.
            shared: arguments of :class:`SingleStageDetector`.
        """
        super().__init__(**shared)
        self.matching = {
            "topk": topk,
            "min_anchor_iou": min_anchor_iou,
            "max_negative_iou": max_negative_iou,
        }
        self.alpha, self.gamma = alpha, gamma
        self.class_weight, self.giou_weight, self.l1_weight = class_weight, giou_weight, l1_weight
        self.missing_labels = missing_labels

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.YOLOF has a value that cannot work.
        """
        yolof = cfg.MODEL.YOLOF
        if len(yolof.IN_FEATURES) != 1:
            raise ValueError(
                f"MODEL.YOLOF.IN_FEATURES is {list(yolof.IN_FEATURES)}; YOLOF looks at one feature "
                "map: name one"
            )
        shared = shared_arguments(cfg, "YOLOF")
        transform = yolof.BOX_TRANSFORM
        return {
            **shared,
            "head": build_head(cfg, shared),
            "box2box_transform": CentreClampedBox2BoxTransform(
                transform.BBOX_REG_WEIGHTS, transform.CTR_CLAMP
            ),
            "topk": yolof.MATCHER.TOPK,
            "min_anchor_iou": yolof.MATCHER.POS_IGNORE_THRESHOLD,
            "max_negative_iou": yolof.MATCHER.NEG_IGNORE_THRESHOLD,
            "alpha": yolof.ALPHA,
            "gamma": yolof.GAMMA,
            "class_weight": yolof.CLASS_WEIGHT,
            "giou_weight": yolof.GIOU_WEIGHT,
            "l1_weight": yolof.L1_WEIGHT,
            "missing_labels": MissingLabels.build(cfg, yolof.NUM_CLASSES),
        }

    @torch.no_grad()
    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> UniformTargets:
        """Uniform matching (section 4.2) of each image."""
        anchors, boxes = Boxes.cat(predictions.anchors).tensor, self.decode_all(predictions)
        found = []
        for image, truth in enumerate(x.to(boxes.device) for x in truths):
            gt_boxes = truth.gt_boxes.tensor
            matches = match_uniformly(anchors, boxes[image], gt_boxes, **self.matching)
            # The class that is appended is the one that anchors without ground truth point to.
            classes = F.pad(truth.gt_classes, (0, 1), value=self.num_classes)[matches.matched]
            found.append(
                (
                    classes.masked_fill(matches.matched == IGNORED, IGNORED),
                    matches.overlap,
                    torch.full_like(matches.anchors, image),
                    matches.anchors,
                    gt_boxes[matches.truths],
                )
            )
        classes, overlap, *pairs = zip(*found, strict=True)
        return UniformTargets(torch.stack(classes), torch.stack(overlap), *map(torch.cat, pairs))

    def matched(self, assigned: UniformTargets) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`SingleStageDetector`."""
        return assigned.images, assigned.anchors, assigned.boxes

    def losses(
        self, predictions: DensePredictions, assigned: UniformTargets, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_giou`` and, where it has a weight, ``loss_l1``.

        Sums over the anchors and the pairs, divided by the number of anchors of a class: its mean
        over the processes.
        """
        logits = full_precision(torch.cat(predictions.logits, dim=1))
        positive = is_class(assigned.classes, self.num_classes)
        normalizer = mean_over_processes(positive.sum())
        loss_cls = sigmoid_focal_loss(logits, positive, alpha=self.alpha, gamma=self.gamma)
        left_out = self.missing_labels(logits, positive, unlabelled, assigned.overlap)
        left_out = left_out | (assigned.classes == IGNORED)[..., None]
        deltas = torch.cat(predictions.boxes, dim=1)[assigned.images, assigned.anchors]
        deltas = full_precision(deltas)
        anchors = Boxes.cat(predictions.anchors).tensor[assigned.anchors]
        boxes = self.box2box_transform.apply_deltas(deltas, anchors)
        losses = {
            "loss_cls": self.class_weight * loss_cls.masked_fill(left_out, 0.0).sum(),
            "loss_giou": self.giou_weight * giou_loss(boxes, assigned.boxes).sum(),
        }
        if self.l1_weight:
            encoded = self.box2box_transform.get_deltas(anchors, assigned.boxes.to(anchors.dtype))
            losses["loss_l1"] = self.l1_weight * F.l1_loss(deltas, encoded, reduction="sum")
        return {name: loss / normalizer for name, loss in losses.items()}


def build_head(cfg: CfgNode, shared: dict) -> YOLOFHead:
    """Encoder and decoder of ``MODEL.YOLOF``, for what ``shared_arguments`` gave."""
    yolof = cfg.MODEL.YOLOF
    in_channels = shared["backbone"].output_shape()[yolof.IN_FEATURES[0]].channels
    encoder = DilatedEncoder(
        in_channels,
        yolof.ENCODER.NUM_CHANNELS,
        mid_channels=yolof.ENCODER.BLOCK_MID_CHANNELS,
        dilations=yolof.ENCODER.BLOCK_DILATIONS,
        norm=yolof.ENCODER.NORM,
    )
    decoder = Decoder(
        yolof.ENCODER.NUM_CHANNELS,
        num_anchors=shared["anchor_generator"].num_anchors[0],
        num_classes=yolof.NUM_CLASSES,
        cls_num_convs=yolof.DECODER.CLS_NUM_CONVS,
        reg_num_convs=yolof.DECODER.REG_NUM_CONVS,
        norm=yolof.DECODER.NORM,
        prior_prob=yolof.DECODER.PRIOR_PROB,
    )
    if cfg.MODEL.ACTIVATION_CHECKPOINTING:
        for part in (encoder, decoder.cls_tower, decoder.reg_tower):
            recompute(part)
    return YOLOFHead(encoder, decoder)
