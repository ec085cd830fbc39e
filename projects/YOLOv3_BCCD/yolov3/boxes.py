"""Box outputs of YOLOv3 (section 2.1): a centre inside its cell, sides relative to the anchor's."""

import torch
from torch import Tensor

from bccd.modeling.precision import full_precision

# A side is at most e^20 times that of its anchor: still finite where areas are multiplied.
MAX_LOG_SIZE = 20.0


def decode_exp_boxes(outputs: Tensor, anchors: Tensor, stride: float) -> Tensor:
    """Boxes (..., 4) XYXY of box outputs (..., 4): x and y before the sigmoid, logarithms of sides.

    Args:
        outputs: (..., 4).
        anchors: (..., 4) XYXY, in the unit of ``stride``, centred in their cells.
        stride: distance of neighbouring cells.
    """
    outputs = full_precision(outputs)
    start, end = anchors.to(outputs.dtype).split(2, dim=-1)
    shift, log_sizes = outputs.split(2, dim=-1)
    centres = (start + end) / 2 + (shift.sigmoid() - 0.5) * stride
    half = (end - start) * log_sizes.clamp(max=MAX_LOG_SIZE).exp() / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def exp_box_targets(boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
    """What :func:`squash_exp_outputs` must give for ``boxes`` (..., 4) XYXY; see the decoding."""
    start, end = boxes.split(2, dim=-1)
    anchor_start, anchor_end = anchors.to(boxes.dtype).split(2, dim=-1)
    shift = ((start + end) - (anchor_start + anchor_end)) / (2 * stride) + 0.5
    return torch.cat([shift, ((end - start) / (anchor_end - anchor_start)).log()], dim=-1)


def squash_exp_outputs(outputs: Tensor) -> Tensor:
    """Box outputs (..., 4) as their place in the cell, in [0, 1], and the logarithms of sides."""
    shift, log_sizes = full_precision(outputs).split(2, dim=-1)
    return torch.cat([shift.sigmoid(), log_sizes], dim=-1)
