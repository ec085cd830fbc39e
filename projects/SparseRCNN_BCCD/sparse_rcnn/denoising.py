"""Denoising: ground-truth boxes, displaced, as further proposals that need no matching.

They teach the stages to move and classify boxes from the first iteration on, when matching is still
arbitrary (DN-DETR, arXiv 2203.01305; DiffusionDet, arXiv 2211.09788, does so on Sparse R-CNN).
"""

import torch
from detectron2.structures import Instances
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert


@torch.no_grad()
def displaced_truth(instances: list[Instances], copies: int, noise: float) -> tuple[Tensor, Tensor]:
    """Copies of every ground-truth box, each moved and resized at random.

    Args:
        instances: N images with gt_boxes, XYXY in pixels.
        copies: of each box.
        noise: a centre moves by up to half of this share of the box's side, and a side
            grows or shrinks by up to this share.

    Returns:
        boxes (N, Q, 4) XYXY in pixels, Q the largest number in an image; and (N, Q) int64, the
        index of the ground truth of each, -1 for padding, whose boxes have no area.
    """
    boxes = pad_sequence(
        [box_convert(x.gt_boxes.tensor, "xyxy", "cxcywh") for x in instances], batch_first=True
    ).repeat(1, copies, 1)
    count = boxes.shape[1] // copies
    counts = boxes.new_tensor([len(x) for x in instances])
    truth = torch.arange(count, device=boxes.device).repeat(copies).expand(len(instances), -1)
    truth = truth.where(truth < counts[:, None], -1)
    move, grow = (2 * torch.rand(2, *boxes.shape[:2], 2, device=boxes.device) - 1) * noise
    centre, size = boxes.split(2, dim=2)
    displaced = torch.cat([centre + move * size / 2, size * (1 + grow)], dim=2)
    return box_convert(displaced, "cxcywh", "xyxy"), truth
