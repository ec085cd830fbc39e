"""The two sets of losses of YOLOv8, on what the task-aligned assignment chose.

Shapes: ``N`` images, ``A`` cells of all feature maps, ``K`` classes, ``T`` matched cells.
"""

from dataclasses import dataclass

import torch
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.distances import (
    DistanceDistribution,
    boxes_of_distances,
    distances_of_boxes,
    distribution_focal_loss,
)
from bccd.modeling.losses import (
    ciou_loss,
    giou_loss,
    iou,
    is_class,
    mean_over_processes,
    sigmoid_focal_loss,
    varifocal_loss,
)
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.precision import full_precision


@dataclass
class CellTargets:
    """What the cells are to predict.

    Attributes:
        classes: (N, A) int64; K for background.
        quality: (N, A) in [0, 1], 0 for background; see ``TaskAlignedTargets``.
        index: image and cell, (T,) int64 each, of the matched cells.
        points: (T, 2) their centres, in strides.
        boxes: (T, 4) their ground truth, XYXY in strides.
        strides: (T, 1) of their feature maps, in pixels.
        overlap: None, or (N, A) largest IoU of a cell's box with any ground truth, for
            MODEL.MISSING_LABELS.
    """

    classes: Tensor
    quality: Tensor
    index: tuple[Tensor, Tensor]
    points: Tensor
    boxes: Tensor
    strides: Tensor
    overlap: Tensor | None


class BCECIoUDFLLoss(nn.Module):
    """YOLOv8's own: every class score is to be the quality of its cell.

    Box and distribution loss weigh a cell by its quality. All three are sums over the cells,
    divided by the sum of the qualities in all processes.

    Attributes:
        rule: of ``assign_task_aligned``.
    """

    rule = "ppyoloe"

    def __init__(
        self,
        *,
        class_weight: float,
        box_weight: float,
        dfl_weight: float,
        times_batch: bool,
        missing_labels: MissingLabels,
    ) -> None:
        """
        Args:
            class_weight, box_weight, dfl_weight: factors of the losses.
            times_batch: multiply the losses by the number of images of all processes.
            missing_labels: negatives to leave out.
        """
        super().__init__()
        self.class_weight, self.box_weight, self.dfl_weight = class_weight, box_weight, dfl_weight
        self.times_batch = times_batch
        self.missing_labels = missing_labels

    def forward(
        self,
        logits: Tensor,
        bins: Tensor,
        distances: DistanceDistribution,
        targets: CellTargets,
        unlabelled: Tensor | None,
    ) -> dict[str, Tensor]:
        """Losses ``loss_cls``, ``loss_box`` and ``loss_dfl``.

        Args:
            logits: (N, A, K).
            bins: (N, A, 4 * bins).
            distances: what reads ``bins``.
            targets: of the cells.
            unlabelled: None, or (N, K) bool, classes that are not annotated in an image.
        """
        logits, bins = full_precision(logits), full_precision(bins)[targets.index]
        positive = is_class(targets.classes, logits.shape[-1])
        wanted = positive * targets.quality[..., None].to(logits.dtype)
        loss_cls = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        missing = self.missing_labels(logits, positive, unlabelled, targets.overlap)
        weight = targets.quality[targets.index]
        loss_box = ciou_loss(boxes_of_distances(targets.points, distances(bins)), targets.boxes)
        sides = distances_of_boxes(targets.points, targets.boxes)
        loss_dfl = distribution_focal_loss(bins, sides).mean(dim=-1)
        normalizer = mean_over_processes(targets.quality.sum())
        if self.times_batch:
            normalizer = normalizer / (len(logits) * comm.get_world_size())
        return {
            "loss_cls": self.class_weight * loss_cls.masked_fill(missing, 0.0).sum() / normalizer,
            "loss_box": self.box_weight * (loss_box * weight).sum() / normalizer,
            "loss_dfl": self.dfl_weight * (loss_dfl * weight).sum() / normalizer,
        }


class FocalGIoUL1Loss(nn.Module):
    """The BCCD paper's: focal loss of all cells, GIoU and L1 of the matched ones.

    L1 is of the distances to the four sides, in strides. Each is a sum over the cells, divided by
    the number of matched cells in all processes.

    Attributes:
        rule: of ``assign_task_aligned``.
    """

    rule = "tood"  # cells that are not aligned at all are no objects

    def __init__(
        self,
        *,
        alpha: float,
        gamma: float,
        class_weight: float,
        giou_weight: float,
        l1_weight: float,
        quality_scores: bool,
        missing_labels: MissingLabels,
    ) -> None:
        """
        Args:
            alpha, gamma: of the focal loss.
            class_weight, giou_weight, l1_weight: factors of the losses.
            quality_scores: scores are to be the IoU of their box (varifocal loss).
            missing_labels: negatives to leave out.
        """
        super().__init__()
        self.alpha, self.gamma = alpha, gamma
        self.class_weight, self.giou_weight, self.l1_weight = class_weight, giou_weight, l1_weight
        self.quality_scores = quality_scores
        self.missing_labels = missing_labels

    def forward(
        self,
        logits: Tensor,
        bins: Tensor,
        distances: DistanceDistribution,
        targets: CellTargets,
        unlabelled: Tensor | None,
    ) -> dict[str, Tensor]:
        """Losses ``loss_cls``, ``loss_giou`` and ``loss_l1``; see :class:`BCECIoUDFLLoss`."""
        logits, bins = full_precision(logits), full_precision(bins)[targets.index]
        positive = is_class(targets.classes, logits.shape[-1])
        found = distances(bins)
        boxes = boxes_of_distances(targets.points, found)
        if self.quality_scores:
            quality = torch.zeros_like(targets.quality)
            quality[targets.index] = iou(boxes.detach(), targets.boxes).to(quality.dtype)
            loss_cls = varifocal_loss(logits, positive * quality[..., None])
        else:
            loss_cls = sigmoid_focal_loss(logits, positive, alpha=self.alpha, gamma=self.gamma)
        missing = self.missing_labels(logits, positive, unlabelled, targets.overlap)
        sides = distances_of_boxes(targets.points, targets.boxes)
        loss_l1 = F.l1_loss(found, sides.to(found.dtype), reduction="sum")
        normalizer = mean_over_processes(positive.sum())
        return {
            "loss_cls": self.class_weight * loss_cls.masked_fill(missing, 0.0).sum() / normalizer,
            "loss_giou": self.giou_weight * giou_loss(boxes, targets.boxes).sum() / normalizer,
            "loss_l1": self.l1_weight * loss_l1 / normalizer,
        }
