"""Task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2), of YOLOv8 among others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bccd.modeling.losses import iou, is_class
from bccd.modeling.precision import full_precision


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
    rule: str = "tood",
    regions: Tensor | None = None,
) -> TaskAlignedTargets:
    """Assign to each ground truth the anchors that classify and overlap it best.

    The alignment of an anchor with a ground truth is ``score ** alpha * overlap ** beta``
    (equation 2). The two rules differ in what is rare, and early in a training:

    ``tood``: anchors with an alignment of 0 are not assigned. An anchor that several ground truths
    chose belongs to the one of them that it overlaps most, at a tie to the first.

    ``ppyoloe``, as PP-YOLOE (arXiv 2203.16250) and YOLOv8 have it: a ground truth with few aligned
    anchors takes others, which get the quality 0. An anchor that several chose belongs to the one
    that it overlaps most of all that it may be assigned to, whether that one chose it or not. Where
    even the best alignment is not far above 1e-9, qualities are lower.

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
        rule: "tood" or "ppyoloe".
        regions: (N, M, 4) XYXY that the points are to lie inside of; None: ``gt_boxes``.
    """
    count = gt_boxes.shape[1]
    if count == 0:
        nothing = full_precision(scores.new_zeros(scores.shape[:2]))
        return TaskAlignedTargets(nothing.long(), nothing, nothing)
    overlaps = overlap(gt_boxes[:, :, None], boxes[:, None])  # (N, M, A)
    index = gt_classes.clamp(min=0)[..., None].expand_as(overlaps)
    score = full_precision(scores).transpose(1, 2).gather(1, index)
    regions = (gt_boxes if regions is None else regions)[:, :, None]
    points = points.expand(*boxes.shape[:2], 2)[:, None]
    inside = (points > regions[..., :2]) & (points < regions[..., 2:])
    allowed = inside.all(-1) & (gt_classes >= 0)[..., None]
    alignment = (score**alpha * overlaps**beta) * allowed
    top = alignment.topk(min(topk, alignment.shape[2]), dim=2).indices
    chosen = torch.zeros_like(allowed).scatter(2, top, value=True) & allowed
    if rule == "tood":
        chosen &= alignment > 0
        matched = _most_overlapping(overlaps, chosen)
    else:
        contested = chosen.sum(dim=1, keepdim=True) > 1
        among = torch.where(contested, allowed, chosen)
        matched = _most_overlapping(overlaps, among)
    # The maxima below are those after conflicts, over what a ground truth has kept.
    kept = is_class(matched, count).transpose(1, 2)
    alignment = alignment * kept
    best = alignment.amax(2, keepdim=True)
    divisor = best.clamp(min=1e-12) if rule == "tood" else best + 1e-9
    quality = (alignment * (overlaps * kept).amax(2, keepdim=True) / divisor).amax(1)
    return TaskAlignedTargets(matched, quality, overlaps.amax(dim=1))


def _most_overlapping(overlaps, among):
    """Of each anchor (N, A), the first ground truth of most overlap; M where none is ``among``."""
    best, truth = overlaps.masked_fill(~among, -1.0).max(dim=1)
    return torch.where(best >= 0, truth, overlaps.shape[1])
