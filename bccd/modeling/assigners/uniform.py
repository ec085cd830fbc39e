"""Uniform matching (YOLOF, arXiv 2103.09460, section 4.2): large and small boxes get as many."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_convert

from bccd.modeling.assigners.labels import IGNORED
from bccd.modeling.losses import iou, pairwise_l1
from bccd.modeling.precision import full_precision


@dataclass
class UniformMatches:
    """Targets of one image with A anchors and M ground-truth boxes.

    Attributes:
        matched: (A,) int64, index of the ground truth; M for background, IGNORED for anchors that
            the class loss leaves out. Of an anchor in several pairs, the last pair decides.
        anchors, truths: (T,) int64, the pairs that the box loss counts. An anchor may be in several
            of them, and a pair that was found by anchor and by prediction is there twice.
        overlap: (A,) largest IoU of the prediction with any ground truth.
    """

    matched: Tensor
    anchors: Tensor
    truths: Tensor
    overlap: Tensor


@torch.no_grad()
def match_uniformly(
    anchors: Tensor,
    boxes: Tensor,
    gt_boxes: Tensor,
    *,
    topk: int,
    min_anchor_iou: float,
    max_negative_iou: float,
) -> UniformMatches:
    """Match each ground truth with its nearest anchors and with its nearest predictions.

    Distances are L1 of centre, width and height in pixels; at equal distance the first anchor is
    nearer. Pairs are ordered by rank, at each rank the predictions before the anchors, then by
    ground truth, as in the authors' code.

    Args:
        anchors: (A, 4) XYXY in pixels.
        boxes: (A, 4) XYXY, predicted at the anchors.
        gt_boxes: (M, 4) XYXY.
        topk: anchors, and predictions, of each ground truth; all where there are fewer.
        min_anchor_iou: a pair whose *anchor* overlaps the ground truth less is ignored.
        max_negative_iou: an anchor in no pair whose *prediction* overlaps any ground truth more is
            ignored.
    """
    count = len(gt_boxes)
    if count == 0:
        matched = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
        return UniformMatches(matched, matched[:0], matched[:0], torch.zeros_like(boxes[:, 0]))
    boxes = full_precision(boxes)
    anchors, gt_boxes = anchors.to(boxes.dtype), gt_boxes.to(boxes.dtype)
    centre_form = box_convert(gt_boxes, "xyxy", "cxcywh")
    ranked = [
        # Stable, where topk would choose among equals.
        pairwise_l1(centre_form, box_convert(x, "xyxy", "cxcywh")).argsort(dim=1, stable=True)
        for x in (boxes, anchors)
    ]
    index = torch.stack([order[:, :topk].T for order in ranked], dim=1).flatten()  # rank, kind, M
    truths = torch.arange(count, device=index.device).repeat(len(index) // count)
    # Not Detectron2's pairwise_iou, whose Boxes are float32 alone.
    overlap = iou(gt_boxes[:, None], boxes).amax(dim=0)
    matched = torch.where(overlap <= max_negative_iou, count, IGNORED)
    near = iou(gt_boxes[truths], anchors[index]) >= min_anchor_iou
    # Assigning by index would leave open which of several pairs of an anchor is written last.
    pairs = torch.arange(len(index), device=index.device)
    last = torch.full_like(matched, -1).scatter_reduce(0, index, pairs, "amax")
    matched = torch.where(last >= 0, torch.where(near, truths, IGNORED)[last], matched)
    return UniformMatches(matched, index[near], truths[near], overlap)
