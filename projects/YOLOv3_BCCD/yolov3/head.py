"""The pyramid and the predictors of YOLOv3 (section 2.3)."""

from collections.abc import Callable, Sequence

import torch
from detectron2.layers import Conv2d, ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recompute


class PoolingPyramid(nn.Module):
    """Maxima over 13, 9 and 5 cells a side and the map itself, concatenated, of YOLOv3-SPP."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, H, W) to (N, 4 * D, H, W)."""
        parts = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in (13, 9, 5)]
        return torch.cat([*parts, x], dim=1)


class YOLOv3Head(nn.Module):
    """From the coarsest map on: convolutions, a predictor, and a branch that the next map joins.

    At a level of ``C`` channels, convolutions of 1x1 to C and of 3x3 to 2C alternate. The result
    goes through a 3x3 to 2C into the predictor, and through a 1x1 to half of its channels to the
    next finer map. An anchor's outputs are four of its box, its objectness and its classes.
    """

    def __init__(
        self,
        input_shapes: Sequence[ShapeSpec],
        num_anchors: Sequence[int],
        num_classes: int,
        *,
        channels: Sequence[int],
        num_convs: Sequence[int],
        pooling_pyramid: bool,
        conv: Callable[..., Conv2d],
        recomputed: bool = False,
    ):
        """
        Args:
            input_shapes: of the feature maps, from the finest on, as all that follows.
            num_anchors: of a cell of each map.
            num_classes: K.
            channels: C of each level.
            num_convs: alternating convolutions of each level; 0: none.
            pooling_pyramid: put one behind the third convolution of the coarsest level.
            conv: see :class:`Darknet`.
            recomputed: keep inputs alone, see ``activation_checkpointing``.
        """
        super().__init__()
        self.outputs = 5 + num_classes
        self.branches, self.towers = nn.ModuleList(), nn.ModuleList()
        self.predictors, self.laterals = nn.ModuleList(), nn.ModuleList()
        from_above = 0
        for level in reversed(range(len(input_shapes))):
            width = channels[level]
            of_level = input_shapes[level].channels + from_above
            pools = pooling_pyramid and not self.branches
            branch, of_level = _alternate(conv, of_level, width, num_convs[level], pools)
            self.branches.insert(0, branch)
            self.towers.insert(0, conv(of_level, 2 * width, 3))
            self.predictors.insert(0, nn.Conv2d(2 * width, num_anchors[level] * self.outputs, 1))
            if level:
                from_above = of_level // 2
                self.laterals.insert(0, conv(of_level, from_above, 1))
        if recomputed:
            for part in (*(b for b in self.branches if len(b)), *self.towers):
                recompute(part)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            features: list of (N, D, H, W), from the finest on.

        Returns:
            list of (N, anchors * (1 + K), H, W), objectness and classes; list of
            (N, anchors * 4, H, W), boxes.
        """
        logits, boxes, x = [], [], None
        for level in reversed(range(len(features))):
            x = self.branches[level](self._join(x, features[level], level))
            outputs = self.predictors[level](self.towers[level](x)).unflatten(1, (-1, self.outputs))
            boxes.insert(0, outputs[:, :, :4].flatten(1, 2))
            logits.insert(0, outputs[:, :, 4:].flatten(1, 2))
        return logits, boxes

    def _join(self, above, feature, level):
        """A map behind the enlarged result of the level above it, if there is one."""
        if above is None:
            return feature
        above = F.interpolate(self.laterals[level](above), scale_factor=2.0, mode="nearest")
        # A backbone that rounds up has maps of an odd size.
        height, width = feature.shape[-2:]
        return torch.cat([above[:, :, :height, :width], feature], dim=1)


def _alternate(conv, in_channels, width, count, pools):
    """(1x1 to ``width`` and 3x3 to twice as many, alternating; channels of the result)."""
    layers = []
    for index in range(count):
        out_channels, kernel_size = (2 * width, 3) if index % 2 else (width, 1)
        layers.append(conv(in_channels, out_channels, kernel_size))
        in_channels = out_channels
        if pools and index == 2:
            layers += [PoolingPyramid(), conv(4 * in_channels, in_channels, 1)]
    return nn.Sequential(*layers), in_channels
