"""One-to-one matching of predictions and ground truth, as set-prediction detectors train."""

import numpy as np
import torch
from torch import Tensor


def focal_class_cost(
    logits: Tensor, alpha: float = 0.25, gamma: float = 2.0, eps: float = 1e-8
) -> Tensor:
    """What it costs to match a prediction to a class: its focal loss as that class, less as none.

    Sparse R-CNN (arXiv 2011.12450, section 3.4) with the focal loss of arXiv 1708.02002.

    Args:
        logits: (...), any shape; one logit for each class.

    Returns:
        Tensor of the same shape.
    """
    prob = logits.sigmoid()
    positive = alpha * (1 - prob) ** gamma * -(prob + eps).log()
    negative = (1 - alpha) * prob**gamma * -(1 - prob + eps).log()
    return positive - negative


def match_one_to_one(cost: Tensor, counts: list[int], repeats: list[int] | None = None) -> Tensor:
    """Match predictions to ground truth, each prediction at most once, at the least total cost.

    Solved for every stage and image by itself; one copy from the device and one to it in all. As
    many pairs as possible are made: with more boxes than proposals, some boxes stay unmatched. An
    entry that is not finite is matched only where no other is left.

    Args:
        cost: (S, N, P, M) for ``S`` stages; padded to the largest ``M``.
        counts: number of ground-truth boxes of each of the N images.
        repeats: how many predictions each box of a stage gets, at most as
            many as there are for every box of the image (:func:`repeats_that_fit`); None: one.

    Returns:
        Tensor (4, T), int64, on the device of ``cost``: stage, image, prediction and ground-truth
        index of each pair, ordered by stage, then image.
    """
    device = cost.device
    # fp64: sums and the stand-in for non-finite entries must not overflow.
    cost = cost.detach().cpu().double().numpy()
    pairs = [np.empty((4, 0), dtype=np.int64)]
    for stage, (matrices, repeat) in enumerate(zip(cost, repeats or [1] * len(cost), strict=True)):
        for image, (matrix, count) in enumerate(zip(matrices, counts, strict=True)):
            times = repeats_that_fit(repeat, len(matrix), count)
            rows, columns = _assign(np.tile(matrix[:, :count], times))
            where = [np.full_like(rows, stage), np.full_like(rows, image)]
            pairs.append(np.stack([*where, rows, columns % max(count, 1)]))
    return torch.from_numpy(np.concatenate(pairs, axis=1)).to(device)


def repeats_that_fit(repeat: int, predictions: int, boxes: int) -> int:
    """``repeat``, or what ``predictions`` suffice for when each of ``boxes`` gets as many."""
    return max(1, min(repeat, predictions // max(boxes, 1)))


def _assign(cost):
    """Row and column indices of the least-cost assignment in ``cost`` (P, M)."""
    finite = np.isfinite(cost)
    if not finite.all():
        # So large that one such entry costs more than any assignment of finite ones can save.
        largest = np.abs(cost[finite]).max(initial=0)
        cost = np.where(finite, cost, 2 * (largest + 1) * min(cost.shape))
    from scipy.optimize import linear_sum_assignment  # slow to load, for training alone

    return linear_sum_assignment(cost)
