"""Task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2), of YOLOv8 among others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bccd.modeling.losses import iou, is_class


@dataclass
class TaskAlignedTargets:
    """Targets of N images, A anchors and at most M ground-truth boxes an image.

    Attributes:
        matched: (N, A) int64, index of the ground truth; M for background.
        quality: (N, A) what the score of the matched class is to be, 0 for background. The best
            anchor of a ground truth has the largest overlap that one of its anchors has with it,
            the others less, in proportion to their alignment (at least 1e-12 at the best).
        overlap: (N, A) largest overlap with any ground truth.
    """

    matched: Tensor
    quality: Tensor
    overlap: Tensor


@torch.no_grad()
def assign_task_aligned(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    gt_boxes: Tensor,
    gt_classes: Tensor,
    *,
    alpha: float,
    beta: float,
    topk: int,
    overlap: Callable[[Tensor, Tensor], Tensor] = iou,
) -> TaskAlignedTargets:
    """Assign to each ground truth the anchors that classify and overlap it best.

    The alignment of an anchor with a ground truth is ``score ** alpha * overlap ** beta``
    (equation 2); anchors with an alignment of 0 are not assigned. An anchor that several ground
    truths chose belongs to the one that it overlaps most, at a tie to the first.

    Args:
        scores: (N, A, K) predicted, in [0, 1].
        boxes: (N, A, 4) predicted, XYXY.
        points: (A, 2) or (N, A, 2) x and y; an anchor can be assigned to the ground truth that its
            point lies strictly inside of.
        gt_boxes: (N, M, 4) XYXY, padded.
        gt_classes: (N, M) int64, -1 for padding.
        alpha, beta: exponents.
        topk: anchors of a ground truth at most.
        overlap: of boxes whose leading dimensions broadcast, in [0, 1].
    """
    count = gt_boxes.shape[1]
    if count == 0:
        nothing = scores.new_zeros(scores.shape[:2], dtype=torch.float32)
        return TaskAlignedTargets(nothing.long(), nothing, nothing)
    overlaps = overlap(gt_boxes[:, :, None], boxes[:, None])  # (N, M, A)
    index = gt_classes.clamp(min=0)[..., None].expand_as(overlaps)
    score = scores.float().transpose(1, 2).gather(1, index)
    points = points.expand(*boxes.shape[:2], 2)[:, None]
    inside = (points > gt_boxes[:, :, None, :2]) & (points < gt_boxes[:, :, None, 2:])
    allowed = inside.all(-1) & (gt_classes >= 0)[..., None]
    alignment = (score**alpha * overlaps**beta) * allowed
    top = alignment.topk(min(topk, alignment.shape[2]), dim=2)
    chosen = torch.zeros_like(alignment).scatter(2, top.indices, top.values)
    best, matched = (overlaps * (chosen > 0)).max(dim=1)
    # The maxima below are those after conflicts, over what a ground truth has kept.
    chosen = chosen * is_class(matched, count).transpose(1, 2)
    quality = chosen / chosen.amax(2, keepdim=True).clamp(min=1e-12)
    quality = (quality * (overlaps * (chosen > 0)).amax(2, keepdim=True)).amax(1)
    return TaskAlignedTargets(torch.where(best > 0, matched, count), quality, overlaps.amax(dim=1))
