"""The two sets of losses that MODEL.SSD.LOSS selects: the BCCD paper's and SSD's own.

Both take, for ``N`` images, ``A`` default boxes and ``K`` classes::

    logits   (N, A, num_scores)
    deltas   (N, A, 4)  predicted offsets of the boxes, as Box2BoxTransform encodes them
    labels   (N, A)     int64 class of each box, K for background
    targets  (N, A, 4)  ground truth matched to each box in XYXY pixels, undefined for background
    anchors  (A, 4)     default boxes in XYXY pixels
    unlabelled (N, K)   bool, or None: see bccd.modeling.missing_labels.MissingLabels, as
    overlap    (N, A)   largest IoU of a default box with ground truth; the paper's losses only

Labels, targets, anchors and overlap lie on the host, so that choosing the matched boxes does not
wait for the device. Both return a dict of scalars, each divided by the number of matched boxes: its
mean over the processes, so that the gradients that DistributedDataParallel averages are those of
one process with the whole batch.
"""

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.losses import (
    giou_loss,
    iou,
    is_class,
    mean_over_processes,
    sigmoid_focal_loss,
    varifocal_loss,
)
from bccd.modeling.missing_labels import MissingLabels


class FocalGIoUL1Loss(nn.Module):
    """Focal loss on the classes, GIoU on decoded boxes, L1 on their deltas: the BCCD paper's.

    The L1 is taken on the encoded deltas, not on pixels, so that a platelet weighs as much as a
    white cell.
    """

    def __init__(
        self,
        box2box_transform: Box2BoxTransform,
        *,
        alpha: float,
        gamma: float,
        class_weight: float,
        giou_weight: float,
        l1_weight: float,
        prior_prob: float,
        quality_scores: bool = False,
        missing_labels: MissingLabels | None = None,
    ) -> None:
        """
        Args:
            box2box_transform: encodes the deltas.
            alpha, gamma: of the focal loss (arXiv 1708.02002, equation 5).
            class_weight, giou_weight, l1_weight: factors of the three losses.
            prior_prob: probability at which the scores start, see :class:`SSDHead`.
            quality_scores: varifocal instead of focal loss: a score is to be the IoU of its box.
            missing_labels: negatives to leave out; None: every unmatched box is background.
        """
        super().__init__()
        self.box2box_transform = box2box_transform
        self.alpha, self.gamma = alpha, gamma
        self.class_weight, self.giou_weight, self.l1_weight = class_weight, giou_weight, l1_weight
        self.prior = prior_prob
        self.quality_scores = quality_scores
        self.missing_labels = missing_labels

    def num_scores(self, num_classes: int) -> int:
        """Logits that a default box needs: one a class."""
        return num_classes

    def scores(self, logits: Tensor) -> Tensor:
        """Class probabilities ``(..., K)`` of ``logits`` ``(..., K)``."""
        return logits.float().sigmoid()

    def forward(
        self,
        logits: Tensor,
        deltas: Tensor,
        labels: Tensor,
        targets: Tensor,
        anchors: Tensor,
        unlabelled: Tensor | None = None,
        overlap: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses ``loss_cls``, ``loss_giou`` and ``loss_l1``; see the module's docstring."""
        matched = labels < logits.shape[-1]
        normalizer = mean_over_processes(matched.sum().to(logits.device))
        index, encoded, targets, anchors = _matched_pairs(
            self.box2box_transform, matched, targets, anchors, logits.device
        )
        deltas = deltas[index].float()
        boxes = self.box2box_transform.apply_deltas(deltas, anchors)
        loss_giou = giou_loss(boxes, targets).sum()
        loss_l1 = F.l1_loss(deltas, encoded, reduction="sum")
        quality = logits.new_zeros(labels.shape, dtype=torch.float32)
        quality[index] = iou(boxes.detach(), targets)
        positive = is_class(labels.to(logits.device), logits.shape[-1])
        loss_cls = self._class_loss(logits, positive, quality)
        if self.missing_labels is not None:
            overlap = overlap if overlap is None else overlap.to(logits.device)
            missing = self.missing_labels(logits, positive, unlabelled, overlap)
            loss_cls = loss_cls.masked_fill(missing, 0.0)
        return {
            "loss_cls": self.class_weight * loss_cls.sum() / normalizer,
            "loss_giou": self.giou_weight * loss_giou / normalizer,
            "loss_l1": self.l1_weight * loss_l1 / normalizer,
        }

    def _class_loss(self, logits, positive, quality):
        """Loss (N, A, K) of every score."""
        if self.quality_scores:
            return varifocal_loss(logits, positive * quality[..., None])
        return sigmoid_focal_loss(logits, positive, alpha=self.alpha, gamma=self.gamma)


class MultiBoxLoss(nn.Module):
    """Softmax cross-entropy with hard negatives and smooth L1, as published (SSD, section 2.2)."""

    # Softmax scores start equal.
    prior = None

    def __init__(
        self,
        box2box_transform: Box2BoxTransform,
        *,
        negative_ratio: float,
        class_weight: float,
        smooth_l1_weight: float,
    ) -> None:
        """
        Args:
            box2box_transform: encodes the deltas.
            negative_ratio: background boxes that count for each matched box of an image: those
                with the largest loss.
            class_weight, smooth_l1_weight: factors of the two losses.
        """
        super().__init__()
        self.box2box_transform = box2box_transform
        self.negative_ratio = negative_ratio
        self.class_weight, self.smooth_l1_weight = class_weight, smooth_l1_weight

    def num_scores(self, num_classes: int) -> int:
        """Logits that a default box needs: the classes', then that of the background."""
        return num_classes + 1

    def scores(self, logits: Tensor) -> Tensor:
        """Class probabilities ``(..., K)`` of ``logits`` ``(..., K + 1)``."""
        return logits.float().softmax(dim=-1)[..., :-1]

    def forward(
        self,
        logits: Tensor,
        deltas: Tensor,
        labels: Tensor,
        targets: Tensor,
        anchors: Tensor,
        unlabelled: Tensor | None = None,
        overlap: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses ``loss_cls`` and ``loss_smooth_l1``; see the module's docstring."""
        matched = labels < logits.shape[-1] - 1
        index, encoded, _, _ = _matched_pairs(
            self.box2box_transform, matched, targets, anchors, logits.device
        )
        labels, matched = labels.to(logits.device), matched.to(logits.device)
        normalizer = mean_over_processes(matched.sum())
        loss_cls = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
        counted = matched | hard_negatives(loss_cls.detach(), matched, self.negative_ratio)
        loss_smooth_l1 = F.smooth_l1_loss(deltas[index].float(), encoded, reduction="sum")
        return {
            "loss_cls": self.class_weight * loss_cls.masked_fill(~counted, 0.0).sum() / normalizer,
            "loss_smooth_l1": self.smooth_l1_weight * loss_smooth_l1 / normalizer,
        }


def _matched_pairs(box2box_transform, matched, targets, anchors, device):
    """Image and box index, encoded targets, targets and anchors of the T matched boxes.

    The results lie on ``device``, the other arguments on the host.
    """
    index = matched.nonzero(as_tuple=True)
    targets, anchors = targets[index], anchors[index[1]]
    encoded = box2box_transform.get_deltas(anchors, targets)
    image, box, *pairs = (x.to(device) for x in (*index, encoded, targets, anchors))
    return (image, box), *pairs


def hard_negatives(losses: Tensor, matched: Tensor, ratio: float) -> Tensor:
    """The background boxes with the largest loss, ``ratio`` for each matched box of their image.

    Args:
        losses: ``(N, A)`` classification loss of each default box.
        matched: ``(N, A)`` bool, boxes that are not background.
        ratio: background boxes for each matched one.

    Returns:
        ``(N, A)`` bool. None in an image without a matched box, as published.
    """
    ranked = losses.masked_fill(matched, -torch.inf).argsort(dim=1, descending=True)
    rank = ranked.argsort(dim=1)
    return (rank < ratio * matched.sum(dim=1, keepdim=True)) & ~matched
