"""Class and box of each anchor, from a matching of anchors and ground truth by IoU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor
from torch.nn import functional as F

IGNORED = -1


@dataclass
class AnchorLabels:
    """Targets of N images and A anchors.

    Attributes:
        classes: (N, A) int64; K for background, IGNORED for anchors that no loss counts.
        boxes: (N, A, 4) XYXY, the matched ground truth; zeros elsewhere.
        overlap: (N, A) largest IoU with any ground truth.
        anchors: (A, 4) XYXY.
    """

    classes: Tensor
    boxes: Tensor
    overlap: Tensor
    anchors: Tensor


@torch.no_grad()
def label_anchors(
    matcher: Callable[[Tensor], tuple[Tensor, Tensor]],
    anchors: Boxes,
    truths: list[Instances],
    num_classes: int,
) -> AnchorLabels:
    """Match the ground truth of each image to anchors.

    Args:
        matcher: (M, A) IoU to the index (A,) of a ground truth and a label (A,): 1 matched, 0
            background, -1 ignored; Detectron2's ``Matcher`` is one.
        anchors: A boxes.
        truths: N Instances with ``gt_boxes`` and ``gt_classes`` on the device of ``anchors``; an
            image may have none.
        num_classes: K.
    """
    classes, targets, overlaps = [], [], []
    for truth in truths:
        overlap = pairwise_iou(truth.gt_boxes, anchors)
        matches, labels = matcher(overlap)
        # The row appended for background is what an unmatched anchor points to.
        of_truth = torch.cat([truth.gt_classes, matches.new_tensor([num_classes])])
        boxes = torch.cat([truth.gt_boxes.tensor, anchors.tensor.new_zeros(1, 4)])
        matches = torch.where(labels == 1, matches, len(truth))
        classes.append(of_truth[matches].masked_fill(labels < 0, IGNORED))
        targets.append(boxes[matches])
        overlaps.append(F.pad(overlap, (0, 0, 0, 1)).amax(dim=0))
    return AnchorLabels(
        torch.stack(classes), torch.stack(targets), torch.stack(overlaps), anchors.tensor
    )
