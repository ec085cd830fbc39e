"""Boxes as YOLOv5 and YOLOv7 predict them, bounded by a sigmoid and relative to an anchor box."""

import torch
from torch import Tensor

from bccd.modeling.precision import full_precision


def decode_sigmoid_boxes(outputs: Tensor, anchors: Tensor, stride: float) -> Tensor:
    """Boxes (..., 4) XYXY of box outputs (..., 4): x, y, width and height before the sigmoid.

    A centre is up to one stride from its anchor's, a side 0 to 4 times as long.

    Args:
        outputs: (..., 4).
        anchors: (..., 4) XYXY, in the unit of ``stride``.
        stride: distance of neighbouring cells.
    """
    doubled = 2 * full_precision(outputs).sigmoid()
    centres, sizes = _centres_and_sizes(anchors)
    centres = centres + (doubled[..., :2] - 1) * stride
    half = doubled[..., 2:].square() * sizes / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def sigmoid_box_targets(boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
    """What twice the sigmoid of the outputs must be for ``boxes``; beyond [0, 2] it cannot be.

    Args:
        boxes: (..., 4) XYXY, in the unit of ``stride``.
        anchors, stride: see :func:`decode_sigmoid_boxes`.
    """
    centres, sizes = _centres_and_sizes(boxes)
    anchor_centres, anchor_sizes = _centres_and_sizes(anchors)
    shift = (centres - anchor_centres) / stride + 1
    return torch.cat([shift, (sizes / anchor_sizes).sqrt()], dim=-1)


def _centres_and_sizes(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
