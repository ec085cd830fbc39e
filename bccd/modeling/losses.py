"""Box and class losses that every detector shares.

Pure functions in fp32, or in float64 where an argument is; safe for boxes without area: the
gradient stays finite, and no call waits for the device. ``torchvision.ops`` has GIoU and CIoU
without a batch dimension and undefined for boxes without area, which is why they are written here.
"""

import math

import torch
import torch.distributed
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss as _sigmoid_focal_loss

from bccd.modeling.precision import full_precision

__all__ = [
    "ciou",
    "ciou_loss",
    "giou",
    "giou_loss",
    "iou",
    "is_class",
    "mean_over_processes",
    "pairwise_giou",
    "pairwise_l1",
    "require_same_shape",
    "sigmoid_focal_loss",
    "varifocal_loss",
]


def giou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """Generalised intersection over union (arXiv 1902.09630, algorithm 1).

    Args:
        boxes1, boxes2: (..., 4) XYXY boxes in one unit of length; the leading dimensions
            broadcast. A box with ``x1 < x0`` or ``y1 < y0`` counts as one without area.
        eps: smallest divisor, in that unit squared.

    Returns:
        Tensor (...), float32, in [-1, 1].
    """
    boxes1, boxes2 = _in_one_precision(boxes1, boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    enclosing = _area(
        torch.maximum(boxes1[..., 2:], boxes2[..., 2:])
        - torch.minimum(boxes1[..., :2], boxes2[..., :2])
    )
    return intersection / union.clamp(min=eps) - (enclosing - union) / enclosing.clamp(min=eps)


def iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """Intersection over union, in [0, 1]; arguments and result as of :func:`giou`."""
    boxes1, boxes2 = _in_one_precision(boxes1, boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    return intersection / union.clamp(min=eps)


def ciou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less a distance of the centres and of the proportions (arXiv 1911.08287, equation 10).

    The weight of the proportions (equation 11) has no gradient. Arguments as of :func:`giou`.

    Returns:
        Tensor (...), float32, in [-2, 1].
    """
    boxes1, boxes2 = _in_one_precision(boxes1, boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    overlap = intersection / (union + eps)
    # Of all corners, so that both centres are inside where a box has x1 < x0, too.
    low1, high1, low2, high2 = *boxes1.split(2, -1), *boxes2.split(2, -1)
    low = torch.minimum(torch.minimum(low1, high1), torch.minimum(low2, high2))
    high = torch.maximum(torch.maximum(high1, low1), torch.maximum(high2, low2))
    enclosing = high - low
    shift = (boxes1[..., :2] + boxes1[..., 2:] - boxes2[..., :2] - boxes2[..., 2:]) / 2
    distance = shift.square().sum(-1) / (enclosing.square().sum(-1) + eps)
    angle1, angle2 = (
        torch.atan2(*(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1))
        for boxes in (boxes1, boxes2)
    )
    proportions = 4 / math.pi**2 * (angle1 - angle2).square()
    with torch.no_grad():
        weight = proportions / (1 - overlap + proportions + eps)
    return overlap - distance - weight * proportions


def _in_one_precision(boxes1, boxes2):
    """Both in float32, or in float64 if one is: an area is as exact as what it is compared with."""
    dtype = torch.promote_types(torch.promote_types(boxes1.dtype, boxes2.dtype), torch.float32)
    return boxes1.to(dtype), boxes2.to(dtype)


def _intersection_and_union(boxes1, boxes2):
    """Areas of the intersection and the union of boxes whose leading dimensions broadcast."""
    intersection = _area(
        torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
        - torch.maximum(boxes1[..., :2], boxes2[..., :2])
    )
    areas = _area(boxes1[..., 2:] - boxes1[..., :2]) + _area(boxes2[..., 2:] - boxes2[..., :2])
    return intersection, areas - intersection


def _area(sides):
    """Area of rectangles with ``sides`` (..., 2); 0 where one side is negative."""
    return sides.clamp(min=0).prod(dim=-1)


def pairwise_giou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """GIoU of every box of ``boxes1`` (..., A, 4) with every one of ``boxes2`` (..., B, 4).

    Returns:
        Tensor (..., A, B), float32. See :func:`giou`.
    """
    return giou(boxes1[..., :, None, :], boxes2[..., None, :, :], eps)


def pairwise_l1(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Sum of the absolute differences of the coordinates of every pair of boxes.

    Args:
        boxes1, boxes2: (..., A, 4) and (..., B, 4), in one unit.

    Returns:
        Tensor (..., A, B), float32, in that unit.
    """
    return torch.cdist(full_precision(boxes1), full_precision(boxes2), p=1)


def giou_loss(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """``1 - GIoU`` of paired boxes, (..., 4) each; a Tensor (...), float32, in [0, 2].

    See :func:`giou`. Not reduced: the caller sums or averages.
    """
    return 1 - giou(boxes1, boxes2, eps)


def ciou_loss(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """``1 - CIoU`` of paired boxes, as :func:`giou_loss`; see :func:`ciou`."""
    return 1 - ciou(boxes1, boxes2, eps)


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Focal loss (arXiv 1708.02002, equation 5); torchvision's, for equal shapes alone.

    Args:
        logits: (...), any shape.
        targets: same shape, 0 or 1.
        alpha, gamma: of the paper.

    Returns:
        Tensor of the same shape; not reduced.

    Raises:
        ValueError: the shapes differ; see :func:`require_same_shape`.
    """
    require_same_shape(logits, targets)
    logits = full_precision(logits)
    return _sigmoid_focal_loss(logits, targets.to(logits.dtype), alpha=alpha, gamma=gamma)


def require_same_shape(logits: Tensor, targets: Tensor) -> None:
    """Raise ValueError where the shapes of logits and targets differ.

    Of one class, they would broadcast over the classes, and each class take the loss of another.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"the scores have the shape {tuple(logits.shape)}, their targets "
            f"{tuple(targets.shape)}: the last number is that of the classes, which must be equal"
        )


def varifocal_loss(
    logits: Tensor, quality: Tensor, *, alpha: float = 0.75, gamma: float = 2.0
) -> Tensor:
    """Loss of scores that are to say how good their box is (VarifocalNet, arXiv 2008.13367).

    Args:
        logits: (...), any shape.
        quality: same shape, in [0, 1]: the IoU that a matched box has with its ground
            truth, 0 where nothing is matched.
        alpha, gamma: weight ``alpha * score ** gamma`` of an unmatched one; a matched one
            weighs ``quality``.

    Returns:
        Tensor of the same shape, float32; not reduced.

    Raises:
        ValueError: the shapes differ; see :func:`require_same_shape`.
    """
    require_same_shape(logits, quality)
    logits = full_precision(logits)
    quality = quality.to(logits.dtype)
    negative = alpha * logits.detach().sigmoid() ** gamma
    weight = torch.where(quality > 0, quality, negative)
    return weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def is_class(classes: Tensor, num_classes: int) -> Tensor:
    """Which class each is: ``classes`` (...) int64 to (..., K) bool; K or more is none.

    ``F.one_hot`` would read the smallest and the largest back from a CPU tensor.
    """
    return classes[..., None] == torch.arange(num_classes, device=classes.device)


def mean_over_processes(count: Tensor) -> Tensor:
    """What a sum of losses is divided by: the mean of ``count`` over the processes.

    A total below 1 counts as 1. The gradients that DistributedDataParallel averages are then those
    of one process with the whole batch.

    Args:
        count: numbers of objects in this process; every process must call.

    Returns:
        Tensor of the same shape, float32 or float64, on the same device; nobody waits for it.
    """
    total = full_precision(count).clone()
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(total)
    return total.clamp(min=1) / comm.get_world_size()
