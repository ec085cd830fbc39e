"""As many anchors for a ground truth as overlap it well, the cheapest ones first.

SimOTA, of YOLOX (arXiv 2107.08430, section 2.1) and YOLOv7 (arXiv 2207.02696).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bccd.modeling.losses import iou
from bccd.modeling.precision import full_precision


@torch.no_grad()
def assign_dynamic_k(costs: Tensor, overlaps: Tensor, *, topk: int) -> Tensor:
    """Choose candidates for every ground truth.

    A ground truth takes the k cheapest candidates, k being the sum of its ``topk`` largest overlaps
    without its fraction, and at least 1. A candidate that several took belongs to the ground truth
    that it is cheapest for, even if that is none of them.

    Args:
        costs: (M, C), of C candidates for M ground truths.
        overlaps: (M, C), in [0, 1].
        topk: see above; all where there are fewer candidates.

    Returns:
        (C,) int64, index of the ground truth; M for candidates that none took. At the same cost,
        the first candidate and the first ground truth come first.
    """
    count, candidates = costs.shape
    if count == 0 or candidates == 0:
        return torch.full((candidates,), count, dtype=torch.int64, device=costs.device)
    wanted = overlaps.topk(min(topk, candidates), dim=1).values.sum(dim=1).long().clamp(min=1)
    rank = costs.argsort(dim=1, stable=True).argsort(dim=1)
    taken = rank < wanted[:, None]
    takers = taken.sum(dim=0)
    first = taken.to(torch.uint8).argmax(dim=0)
    matched = torch.where(takers > 1, costs.argmin(dim=0), first)
    return torch.where(takers > 0, matched, count)


@torch.no_grad()
def sim_ota_costs(
    logits: Tensor, boxes: Tensor, gt_boxes: Tensor, gt_classes: Tensor, *, iou_weight: float
) -> tuple[Tensor, Tensor]:
    """Cost of every candidate for every ground truth, as YOLOv7 has it.

    That is the binary cross-entropy between the one-hot class and the geometric mean of objectness
    and class probability, summed over the classes, and ``iou_weight * -log(IoU)``.

    Args:
        logits: (C, 1 + K), objectness first.
        boxes: (C, 4) predicted, XYXY.
        gt_boxes: (M, 4) XYXY.
        gt_classes: (M,) int64.
        iou_weight: see above.

    Returns:
        costs and overlaps, (M, C) each.
    """
    logs = F.logsigmoid(full_precision(logits))
    log_score = (logs[:, :1] + logs[:, 1:]) / 2
    # Of 1 - score; a score that is rounded to 1 has none.
    log_rest = torch.log(-torch.expm1(log_score)).clamp(min=-100)
    of_class = (
        log_rest.sum(dim=1, keepdim=True) - log_rest[:, gt_classes] + log_score[:, gt_classes]
    )
    overlaps = iou(gt_boxes[:, None], boxes)
    return -of_class.T - iou_weight * torch.log(overlaps + 1e-8), overlaps
