"""YOLOv7's head: re-parameterised convolutions and implicit knowledge around the predictors."""

import math
from collections.abc import Sequence

import torch
from detectron2.layers import Conv2d, ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recompute
from bccd.modeling.layers import ACTIVATIONS, conv_norm


class RepConv(nn.Module):
    """A 3x3 and a 1x1 convolution, each normalised, added; one 3x3 once folded (section 4.2.1)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: str, activation: str) -> None:
        super().__init__()
        self.wide = conv_norm(in_channels, out_channels, 3, norm=norm, activation="")
        self.narrow: Conv2d | None = conv_norm(in_channels, out_channels, norm=norm, activation="")
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        x = self.wide(x) if self.narrow is None else self.wide(x) + self.narrow(x)
        return x if self.activation is None else self.activation(x)

    @torch.no_grad()
    def fold(self) -> None:
        """See ``bccd.modeling.capabilities.Foldable``."""
        if self.narrow is None or self.narrow.norm is not None:
            return  # folded before, or of a normalisation that stays
        self.wide.weight += F.pad(self.narrow.weight, (1, 1, 1, 1))
        self.wide.bias += self.narrow.bias
        self.narrow = None


class ImplicitVector(nn.Module):
    """A learnt number for each channel; by its name SOLVER.WEIGHT_DECAY_BIAS is that of a bias."""

    def __init__(self, channels: int, mean: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1))
        nn.init.normal_(self.bias, mean, 0.02)


class ImplicitPredictor(nn.Module):
    """A 1x1 convolution with implicit knowledge added before and multiplied after it (YOLOR)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.added: ImplicitVector | None = ImplicitVector(in_channels, 0.0)
        self.factor: ImplicitVector | None = ImplicitVector(out_channels, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        if self.added is None:
            return self.conv(x)
        return self.factor.bias * self.conv(x + self.added.bias)

    @torch.no_grad()
    def fold(self) -> None:
        """See ``bccd.modeling.capabilities.Foldable``."""
        if self.added is None:
            return
        weight, factor = self.conv.weight, self.factor.bias.flatten()
        bias = self.conv.bias + weight[:, :, 0, 0] @ self.added.bias.flatten()
        self.conv.bias.copy_(factor * bias)
        weight *= factor[:, None, None, None]
        self.added = self.factor = None


class YOLOv7Head(nn.Module):
    """On each map a convolution to twice the channels and a predictor of all outputs of a cell.

    An anchor's outputs are four of its box, its objectness and its classes, in this order.
    """

    def __init__(
        self,
        input_shapes: Sequence[ShapeSpec],
        num_anchors: Sequence[int],
        num_classes: int,
        *,
        rep_conv: bool,
        norm: str,
        activation: str,
        recomputed: bool = False,
    ) -> None:
        """
        Args:
            input_shapes: of the maps, with their strides.
            num_anchors: of a cell of each map.
            num_classes: K.
            rep_conv: with RepConv, as YOLOv7; else a plain 3x3 convolution, as YOLOv7-tiny.
            norm, activation: see ``bccd.modeling.layers``.
            recomputed: keep the inputs of these alone, see ``activation_checkpointing``.
        """
        super().__init__()
        self.outputs = 5 + num_classes
        self.towers, self.predictors = nn.ModuleList(), nn.ModuleList()
        options = {"norm": norm, "activation": activation}
        for shape, anchors in zip(input_shapes, num_anchors, strict=True):
            channels = shape.channels, 2 * shape.channels
            tower = (
                RepConv(*channels, **options) if rep_conv else conv_norm(*channels, 3, **options)
            )
            if recomputed:
                recompute(tower)
            predictor = ImplicitPredictor(channels[1], anchors * self.outputs)
            self._start(predictor.conv.bias, anchors, shape.stride)
            self.towers.append(tower)
            self.predictors.append(predictor)

    @torch.no_grad()
    def _start(self, bias, anchors, stride):
        """Some eight objects in an image of 640 pixels, of classes that are equally likely."""
        bias = bias.view(anchors, self.outputs)
        bias[:, 4] = math.log(8 / (640 / stride) ** 2)
        bias[:, 5:] = math.log(0.6 / (self.outputs - 5 - 0.99))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            features: list of (N, D, H, W).

        Returns:
            list of (N, anchors * (1 + K), H, W), objectness and classes; list of
            (N, anchors * 4, H, W), boxes.
        """
        logits, boxes = [], []
        for x, tower, predict in zip(features, self.towers, self.predictors, strict=True):
            maps = predict(tower(x)).unflatten(1, (-1, self.outputs))
            logits.append(maps[:, :, 4:].flatten(1, 2))
            boxes.append(maps[:, :, :4].flatten(1, 2))
        return logits, boxes
