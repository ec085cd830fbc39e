"""One anchor for each ground truth, of the most similar shape (YOLOv3, arXiv 1804.02767, 2.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_convert


@torch.no_grad()
def find_best_anchor(
    gt_boxes: Tensor,
    anchor_sizes: Sequence[Tensor],
    map_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
) -> list[tuple[Tensor, Tensor]]:
    """The anchor that predicts each ground truth of one image, in the cell of its centre.

    Shapes are compared by their IoU around one centre; at a tie the first anchor wins, of the
    finest map first. A centre outside of the image belongs to the nearest cell.

    Args:
        gt_boxes: (M, 4) XYXY in pixels.
        anchor_sizes: of each feature map (A_l, 2), width and height in pixels of a cell's anchors.
        map_sizes: of each feature map, (H, W) cells.
        strides: of each feature map, pixels between neighbouring cells.

    Returns:
        for each feature map index (T,) into its H * W * A_l anchors, those of a cell next to each
        other, and ground truth (T,), in the order of the ground truth. T of all maps sum to M.
    """
    centres, sizes = box_convert(gt_boxes, "xyxy", "cxcywh").split(2, dim=1)
    best = _shape_iou(sizes, torch.cat(list(anchor_sizes)).to(sizes)).argmax(dim=1)
    found = []
    for of_level, (height, width), stride in zip(anchor_sizes, map_sizes, strides, strict=True):
        truth = ((best >= 0) & (best < len(of_level))).nonzero()[:, 0]
        column, row = (centres[truth] / stride).long().unbind(1)
        row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
        found.append(((row * width + column) * len(of_level) + best[truth], truth))
        best = best - len(of_level)
    return found


def _shape_iou(sizes, anchors):
    """IoU (M, A) of rectangles (M, 2) and (A, 2) around one centre."""
    inner = torch.minimum(sizes[:, None], anchors).prod(dim=2)
    union = sizes.prod(dim=1)[:, None] + anchors.prod(dim=1) - inner
    return inner / union
