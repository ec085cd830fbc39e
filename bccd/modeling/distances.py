"""Boxes as distances from a point to their four sides, plain or as a distribution over bins.

FCOS (arXiv 1904.01355) predicts plain distances; Generalized Focal Loss (arXiv 2006.04388) and
YOLOv8 a distribution for each. Distances are left, top, right and bottom.
"""

import torch
from torch import Tensor, nn

from bccd.modeling.precision import full_precision


def boxes_of_distances(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes (..., 4) XYXY around ``points`` (..., 2), with ``distances`` (..., 4) to their sides.

    Leading dimensions broadcast; all is in one unit.
    """
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def distances_of_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances (..., 4) from ``points`` (..., 2) to the sides of ``boxes`` (..., 4) XYXY.

    Negative where a point is outside. Leading dimensions broadcast; all is in one unit.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


class DistanceDistribution(nn.Module):
    """Mean of a distribution over the distances 0, 1, ... bins - 1 (arXiv 2006.04388, 3.1).

    Attributes:
        bins: number of distances.
        values: (bins,), a parameter that is not trained: published sizes of models count it.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.values = nn.Parameter(torch.arange(float(bins)), requires_grad=False)

    def forward(self, logits: Tensor) -> Tensor:
        """(..., 4 * bins), the bins of one side next to each other, to distances (..., 4)."""
        logits = full_precision(logits).unflatten(-1, (4, self.bins))
        # Not a product of matrices, which autocast would round.
        return (logits.softmax(dim=-1) * self.values).sum(dim=-1)


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy with the two bins that a distance lies between (arXiv 2006.04388, equation 6).

    Args:
        logits: (..., 4 * bins), the bins of one side next to each other.
        distances: (..., 4), of what is to be predicted; those beyond the bins count as the nearest
            of [0, bins - 1.01].

    Returns:
        (..., 4), float32, or float64 if ``logits`` are; not reduced.
    """
    log = full_precision(logits).unflatten(-1, (distances.shape[-1], -1)).log_softmax(dim=-1)
    distances = distances.to(log.dtype).clamp(0, log.shape[-1] - 1.01)
    below = distances.long()[..., None]
    share = distances - below[..., 0]  # of the bin above
    return -(
        (1 - share) * log.gather(-1, below)[..., 0] + share * log.gather(-1, below + 1)[..., 0]
    )
