"""The toy detector: a score per class and four distances at every cell, assigned as in TOOD."""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, get_norm
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.box_regression import Box2BoxTransformLinear
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.assigners.task_aligned import TaskAlignedTargets, assign_task_aligned
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.ground_truth import pad_ground_truth
from bccd.modeling.losses import giou_loss, is_class, mean_over_processes, varifocal_loss
from bccd.modeling.missing_labels import MissingLabels


class ToyHead(nn.Module):
    """One 3x3 convolution, then a 1x1 for the scores and one for the boxes, on all levels alike."""

    def __init__(self, channels: int, num_classes: int, norm: str):
        super().__init__()
        self.tower = Conv2d(
            *(channels, channels, 3), padding=1, norm=get_norm(norm, channels), activation=F.relu
        )
        self.scores, self.boxes = nn.Conv2d(channels, num_classes, 1), nn.Conv2d(channels, 4, 1)
        nn.init.constant_(self.scores.bias, -4.6)  # a probability of 0.01
        nn.init.constant_(self.boxes.bias, 1.0)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See ``SingleStageDetector``."""
        towers = [self.tower(x) for x in features]
        return [self.scores(x) for x in towers], [self.boxes(x) for x in towers]


@META_ARCH_REGISTRY.register()
class Toy(SingleStageDetector):
    """Distances to the four sides in strides; MODEL.ANCHOR_GENERATOR has the cells as anchors."""

    num_classes_key = "MODEL.Toy.NUM_CLASSES"

    @configurable
    def __init__(self, *, missing_labels: MissingLabels, **shared):
        """``missing_labels``: negatives to leave out; ``shared``: see SingleStageDetector."""
        super().__init__(**shared)
        self.missing_labels = missing_labels

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Build every part from ``cfg``."""
        toy, shared = cfg.MODEL.Toy, shared_arguments(cfg, "Toy")
        channels = shared["backbone"].output_shape()[toy.IN_FEATURES[0]].channels
        return {
            **shared,
            "head": ToyHead(channels, toy.NUM_CLASSES, toy.NORM),
            "box2box_transform": Box2BoxTransformLinear(normalize_by_size=True),
            "class_agnostic_nms": toy.CLASS_AGNOSTIC_NMS,
            "missing_labels": MissingLabels.build(cfg, toy.NUM_CLASSES),
        }

    def assign(
        self, predictions: DensePredictions, truths: list[Instances]
    ) -> tuple[TaskAlignedTargets, Tensor, Tensor]:
        """Targets, and the padded ground truth (N, M, 4) and (N, M), on the model's device."""
        gt_boxes, gt_classes = pad_ground_truth(truths, self.device)
        targets = assign_task_aligned(
            self.scores(torch.cat(predictions.logits, dim=1)),
            self.decode_all(predictions),
            Boxes.cat(predictions.anchors).get_centers(),
            gt_boxes,
            gt_classes,
            alpha=0.5,
            beta=6.0,
            topk=10,
        )
        return targets, gt_boxes, gt_classes

    def losses(
        self,
        predictions: DensePredictions,
        assigned: tuple[TaskAlignedTargets, Tensor, Tensor],
        unlabelled: Tensor | None,
    ) -> dict[str, Tensor]:
        """Varifocal and GIoU loss, ``loss_cls`` and ``loss_giou``."""
        targets, gt_boxes, gt_classes = assigned
        logits = torch.cat(predictions.logits, dim=1).float()
        # The row that is appended is that of anchors without ground truth.
        classes = F.pad(gt_classes, (0, 1), value=self.num_classes).gather(1, targets.matched)
        positive = is_class(classes, self.num_classes)
        loss_cls = varifocal_loss(logits, positive * targets.quality[..., None])
        missing = self.missing_labels(logits, positive, unlabelled, targets.overlap)
        index = targets.matched[..., None].expand(-1, -1, 4)
        matched_boxes = F.pad(gt_boxes, (0, 0, 0, 1)).gather(1, index)
        loss_giou = giou_loss(self.decode_all(predictions), matched_boxes) * targets.quality
        normalizer = mean_over_processes(targets.quality.sum())
        return {
            "loss_cls": loss_cls.masked_fill(missing, 0.0).sum() / normalizer,
            "loss_giou": 2.0 * loss_giou.sum() / normalizer,
        }
