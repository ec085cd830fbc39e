"""Anchors of similar shape in the cell of a centre and in its two nearest neighbours.

The rule of YOLOv5, and of YOLOv7 (arXiv 2207.02696) for what its own assignment chooses from.
"""

import torch
from torch import Tensor
from torchvision.ops import box_convert


@torch.no_grad()
def find_neighbour_cells(
    gt_boxes: Tensor,
    anchor_sizes: Tensor,
    map_size: tuple[int, int],
    stride: float,
    *,
    max_ratio: float,
) -> tuple[Tensor, Tensor]:
    """Anchors of one feature map that may predict each ground truth of one image.

    An anchor fits where neither side is ``max_ratio`` times as long as the other's. The cells are
    that of the centre, the left or right one, whichever is nearer, and the upper or lower one, if
    inside the map. A pair can be there twice: a centre on the line between two cells has its own
    cell for a neighbour as well, as in the published programs.

    Args:
        gt_boxes: (M, 4) XYXY in pixels.
        anchor_sizes: (A, 2) width and height in pixels of the anchors of a cell.
        map_size: (H, W) cells.
        stride: pixels between neighbouring cells.
        max_ratio: of sides.

    Returns:
        T pairs: index (T,) into the H * W * A anchors of the map, those of a cell next to each
        other, and ground truth (T,). First those in the cells of the centres, then left, upper,
        right and lower ones; each by anchor of the cell, then by ground truth.
    """
    centres, sizes = (box_convert(gt_boxes, "xyxy", "cxcywh") / stride).split(2, dim=1)
    ratios = sizes / (anchor_sizes[:, None] / stride)
    fits = torch.maximum(ratios, 1 / ratios).amax(dim=2) < max_ratio
    shape, truth = fits.nonzero().unbind(1)
    centre = centres[truth]
    limit = centre.new_tensor(map_size[::-1])
    before, after = ((x % 1 < 0.5) & (x > 1) for x in (centre, limit - centre))
    own = torch.ones_like(truth, dtype=torch.bool)
    directions = torch.stack([own, *before.unbind(1), *after.unbind(1)])
    shifts = centre.new_tensor([[0, 0], [-0.5, 0], [0, -0.5], [0.5, 0], [0, 0.5]])
    direction, pair = directions.nonzero().unbind(1)
    column, row = (centre[pair] + shifts[direction]).long().unbind(1)
    row, column = row.clamp(0, map_size[0] - 1), column.clamp(0, map_size[1] - 1)
    anchors = (row * map_size[1] + column) * len(anchor_sizes) + shape[pair]
    return anchors, truth[pair]
