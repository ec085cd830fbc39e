"""YOLOv8's decoupled head: a tower for the boxes and one for the classes on every feature map."""

import math

from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from bccd.modeling.activation_checkpointing import recompute
from bccd.modeling.layers import conv_norm

PRIOR_SIDE = 640  # of the image that PRIOR_OBJECTS are in


class YOLOv8Head(nn.Module):
    """Two 3x3 convolutions and a 1x1 in each tower; no objectness."""

    def __init__(
        self,
        input_shapes: list[ShapeSpec],
        num_classes: int,
        bins: int,
        *,
        norm: str,
        box_bias: float,
        prior_objects: float,
        recomputed: bool = False,
    ) -> None:
        """
        Args:
            input_shapes: one a feature map, from the finest on.
            num_classes: K.
            bins: distances of a side.
            norm: of the 3x3 convolutions, as in ``detectron2.layers.get_norm``.
            box_bias: of the distributions at the start.
            prior_objects: objects of any class in 640 x 640 pixels that the scores start at.
            recomputed: keep the input of a tower alone, see ``activation_checkpointing``.
        """
        super().__init__()
        finest = input_shapes[0].channels
        box_width, label_width = max(16, finest // 4, 4 * bins), max(finest, min(num_classes, 100))
        self.box_convs, self.label_convs = nn.ModuleList(), nn.ModuleList()
        self.box_bins, self.class_logits = nn.ModuleList(), nn.ModuleList()
        for shape in input_shapes:
            self.box_convs.append(_tower(shape.channels, box_width, norm))
            self.box_bins.append(nn.Conv2d(box_width, 4 * bins, 1))
            self.label_convs.append(_tower(shape.channels, label_width, norm))
            self.class_logits.append(nn.Conv2d(label_width, num_classes, 1))
            nn.init.constant_(self.box_bins[-1].bias, box_bias)
            cells = (PRIOR_SIDE / shape.stride) ** 2
            bias = math.log(prior_objects / num_classes / cells)
            nn.init.constant_(self.class_logits[-1].bias, bias)
        if recomputed:
            for tower in (*self.box_convs, *self.label_convs):
                recompute(tower)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps to class logits (N, K, H, W) and bins (N, 4 * bins, H, W) of each."""
        return (
            _predict(features, self.label_convs, self.class_logits),
            _predict(features, self.box_convs, self.box_bins),
        )


def _predict(features, towers, predictors):
    levels = zip(features, towers, predictors, strict=True)
    return [predictor(tower(x)) for x, tower, predictor in levels]


def _tower(in_channels, width, norm):
    return nn.Sequential(
        conv_norm(in_channels, width, 3, norm=norm), conv_norm(width, width, 3, norm=norm)
    )
