"""The decoder (YOLOF, section 4.1): class scores with an objectness inside, and boxes."""

import math

import torch
from torch import Tensor, nn

from bccd.modeling.precision import full_precision
from bccd.projects.yolof.encoder import activated_conv


class Decoder(nn.Module):
    """A class tower, and a box tower from which the objectness comes, too."""

    def __init__(
        self,
        channels: int,
        *,
        num_anchors: int,
        num_classes: int,
        cls_num_convs: int,
        reg_num_convs: int,
        norm: str,
        prior_prob: float,
    ) -> None:
        """
        Args:
            channels: of the input.
            num_anchors: A, boxes at a cell.
            num_classes: K.
            cls_num_convs, reg_num_convs: 3x3 convolutions of the two towers.
            norm: after each of them, as in ``detectron2.layers.get_norm``.
            prior_prob: probability at which the class scores start (RetinaNet, section 4.1).
        """
        super().__init__()
        self.cls_tower, self.reg_tower = (
            nn.Sequential(*(activated_conv(channels, channels, 3, norm) for _ in range(count)))
            for count in (cls_num_convs, reg_num_convs)
        )
        self.cls_score, self.bbox_pred, self.object_pred = (
            nn.Conv2d(channels, num_anchors * outputs, 3, padding=1)
            for outputs in (num_classes, 4, 1)
        )
        for predictor in (self.cls_score, self.bbox_pred, self.object_pred):
            nn.init.normal_(predictor.weight, std=0.01)
            nn.init.zeros_(predictor.bias)
        nn.init.constant_(self.cls_score.bias, math.log(prior_prob / (1 - prior_prob)))
        self.num_anchors = num_anchors

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, channels, H, W) to logits (N, A * K, H, W) and deltas (N, A * 4, H, W)."""
        boxes = self.reg_tower(x)
        logits = self.cls_score(self.cls_tower(x)).unflatten(1, (self.num_anchors, -1))
        objectness = self.object_pred(boxes).unflatten(1, (self.num_anchors, 1))
        return join_objectness(logits, objectness).flatten(1, 2), self.bbox_pred(boxes)


def join_objectness(logits: Tensor, objectness: Tensor) -> Tensor:
    """Logits of the product of two probabilities: its sigmoid is that of each, multiplied.

    ``c + o - log(1 + e^c + e^o)``. The objectness has no target of its own. The published code caps
    the exponentials at 1e8 against overflow, which is wrong for logits above 18.4; this needs none.

    Args:
        logits: of the classes.
        objectness: logits; both broadcast.

    Returns:
        Tensor, float32 or more exact.
    """
    logits, objectness = full_precision(logits), full_precision(objectness)
    total = torch.logaddexp(logits, objectness)
    return logits + objectness - torch.logaddexp(total, torch.zeros_like(total))
