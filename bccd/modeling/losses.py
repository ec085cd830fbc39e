"""Box and class losses that every detector shares.

Pure functions in fp32, safe for boxes without area: the gradient stays finite, and no call waits
for the device. ``torchvision.ops`` has GIoU without a batch dimension and undefined for boxes
without area, which is why it is written here.
"""

import torch
import torch.distributed
from detectron2.utils import comm
from fvcore.nn import sigmoid_focal_loss

__all__ = [
    "giou",
    "giou_loss",
    "mean_over_processes",
    "pairwise_giou",
    "pairwise_l1",
    "sigmoid_focal_loss",
]


def giou(boxes1, boxes2, eps=1e-7):
    """Generalised intersection over union (arXiv 1902.09630, algorithm 1).

    Args:
        boxes1, boxes2 (Tensor): (..., 4) XYXY boxes in one unit of length; the leading dimensions
            broadcast. A box with ``x1 < x0`` or ``y1 < y0`` counts as one without area.
        eps (float): smallest divisor, in that unit squared.

    Returns:
        Tensor (...), float32, in [-1, 1].
    """
    boxes1, boxes2 = boxes1.float(), boxes2.float()
    inner = torch.minimum(boxes1[..., 2:], boxes2[..., 2:]) - torch.maximum(
        boxes1[..., :2], boxes2[..., :2]
    )
    outer = torch.maximum(boxes1[..., 2:], boxes2[..., 2:]) - torch.minimum(
        boxes1[..., :2], boxes2[..., :2]
    )
    intersection, enclosing = _area(inner), _area(outer)
    union = _area(boxes1[..., 2:] - boxes1[..., :2]) + _area(boxes2[..., 2:] - boxes2[..., :2])
    union = union - intersection
    iou = intersection / union.clamp(min=eps)
    return iou - (enclosing - union) / enclosing.clamp(min=eps)


def _area(sides):
    """Area of rectangles with ``sides`` (..., 2); 0 where one side is negative."""
    return sides.clamp(min=0).prod(dim=-1)


def pairwise_giou(boxes1, boxes2, eps=1e-7):
    """GIoU of every box of ``boxes1`` (..., A, 4) with every one of ``boxes2`` (..., B, 4).

    Returns:
        Tensor (..., A, B), float32. See :func:`giou`.
    """
    return giou(boxes1[..., :, None, :], boxes2[..., None, :, :], eps)


def pairwise_l1(boxes1, boxes2):
    """Sum of the absolute differences of the coordinates of every pair of boxes.

    Args:
        boxes1, boxes2 (Tensor): (..., A, 4) and (..., B, 4), in one unit.

    Returns:
        Tensor (..., A, B), float32, in that unit.
    """
    return torch.cdist(boxes1.float(), boxes2.float(), p=1)


def giou_loss(boxes1, boxes2, eps=1e-7):
    """``1 - GIoU`` of paired boxes, (..., 4) each; a Tensor (...), float32, in [0, 2].

    See :func:`giou`. Not reduced: the caller sums or averages.
    """
    return 1 - giou(boxes1, boxes2, eps)


def mean_over_processes(count):
    """What a sum of losses is divided by: the mean of ``count`` over the processes, at least 1.

    The gradients that DistributedDataParallel averages are then those of one process with the
    whole batch.

    Args:
        count (Tensor): (), number of objects in this process; every process must call.

    Returns:
        Tensor (), float32, on the same device; nobody waits for it.
    """
    total = count.to(torch.float32, copy=True)
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(total)
    return (total / comm.get_world_size()).clamp(min=1)
