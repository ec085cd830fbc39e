"""One-to-one matching of predictions and ground truth, as set-prediction detectors train."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment


def focal_class_cost(logits, alpha=0.25, gamma=2.0, eps=1e-8):
    """What it costs to match a prediction to a class: its focal loss as that class, less as none.

    Sparse R-CNN (arXiv 2011.12450, section 3.4) with the focal loss of arXiv 1708.02002.

    Args:
        logits (Tensor): (...), any shape; one logit for each class.

    Returns:
        Tensor of the same shape.
    """
    prob = logits.sigmoid()
    positive = alpha * (1 - prob) ** gamma * -(prob + eps).log()
    negative = (1 - alpha) * prob**gamma * -(1 - prob + eps).log()
    return positive - negative


def match_one_to_one(cost, counts):
    """Match predictions to ground truth, each at most once, at the least total cost.

    Solved for every stage and image by itself; one copy from the device and one to it in all. As
    many pairs as possible are made: with more boxes than proposals, some boxes stay unmatched. An
    entry that is not finite is matched only where no other is left.

    Args:
        cost (Tensor): (S, N, P, M) for ``S`` stages; padded to the largest ``M``.
        counts (list[int]): number of ground-truth boxes of each of the N images.

    Returns:
        Tensor (3, S, T), int64, on the device of ``cost``: image, proposal and ground-truth index
        of the T = sum over images of min(P, count) pairs of each stage.
    """
    device = cost.device
    # fp64: sums and the stand-in for non-finite entries must not overflow.
    cost = cost.detach().cpu().double().numpy()
    stages = [_match_stage(matrices, counts) for matrices in cost]
    return torch.from_numpy(np.stack(stages, axis=1)).to(device)


def _match_stage(cost, counts):
    """Image, proposal and ground-truth indices (3, T) for the costs (N, P, M) of one stage."""
    pairs = []
    for image, (matrix, count) in enumerate(zip(cost, counts, strict=True)):
        proposals, boxes = _assign(matrix[:, :count])
        pairs.append(np.stack([np.full_like(boxes, image), proposals, boxes]))
    return np.concatenate(pairs, axis=1)


def _assign(cost):
    """Row and column indices of the least-cost assignment in ``cost`` (P, M)."""
    finite = np.isfinite(cost)
    if not finite.all():
        # So large that one such entry costs more than any assignment of finite ones can save.
        largest = np.abs(cost[finite]).max(initial=0)
        cost = np.where(finite, cost, 2 * (largest + 1) * min(cost.shape))
    return linear_sum_assignment(cost)
