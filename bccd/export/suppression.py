"""Non-maximum suppression per image and class, as one operator that each format writes its way."""

import torch
from torch import Tensor
from torchvision.ops import nms

from bccd.export.detector import NO_DETECTION


def suppress_at_once(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    num_classes: int,
    iou_threshold: float,
    score_threshold: float,
) -> Tensor:
    """Keep the best of overlapping boxes of a class, in all images at once.

    Args:
        boxes: (N, C, 4) XYXY, finite and not negative.
        scores, classes: (N, C), classes below ``num_classes``.
        iou_threshold: from which the lower score is suppressed.
        score_threshold: scores up to it are suppressed.

    Returns:
        Scores (N, C), NO_DETECTION where suppressed.
    """
    image, row = (scores > score_threshold).nonzero().unbind(1)
    # Boxes of different images and classes are moved apart, so that one NMS serves all. In double
    # precision: 256 images of 4096 pixels leave single precision a quarter of a pixel.
    group = image * num_classes + classes[image, row]
    moved = boxes[image, row].double() + group[:, None] * (boxes.amax().double() + 1)
    # torch.export takes it that NMS keeps two at least: two without area, which overlap nothing.
    moved = torch.cat([moved, moved.new_zeros(2, 4)])
    candidates = torch.cat([scores[image, row], scores.new_zeros(2)])
    place = torch.cat([image * scores.shape[1] + row, row.new_full((2,), scores.numel())])
    kept = nms(moved, candidates.double(), iou_threshold)
    found = scores.new_full((scores.numel() + 1,), NO_DETECTION)
    return found.index_put((place[kept],), candidates[kept])[:-1].view_as(scores)


# One operator in a traced program. A package decomposes it into what PyTorch and torchvision have;
# an ONNX file has ONNX's own, which knows images and classes (see onnx_file).
suppress = torch.library.custom_op("bccd::suppress", suppress_at_once, mutates_args=())
OPERATOR = torch.ops.bccd.suppress.default


@suppress.register_fake
def _(boxes, scores, *others):
    return torch.empty_like(scores)
