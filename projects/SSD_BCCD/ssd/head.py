"""The convolutions that predict class scores and box deltas at every default box."""

import math

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recompute


class SSDHead(nn.Module):
    """One class and one box branch for each feature map (arXiv 1512.02325, section 2.1).

    As published a branch is a single 3x3 convolution. ``num_convs`` puts more before it, which
    helps a light backbone.
    """

    def __init__(
        self,
        input_shapes: list[ShapeSpec],
        num_anchors: list[int],
        num_scores: int,
        *,
        num_convs: int = 0,
        norm: str = "",
        prior: float | None = None,
        recomputed: bool = False,
    ) -> None:
        """
        Args:
            input_shapes: one a feature map.
            num_anchors: default boxes at a cell of each feature map.
            num_scores: class scores of a default box.
            num_convs: 3x3 convolutions in a branch before the one that predicts.
            norm: their normalisation, as in ``detectron2.layers.get_norm``.
            prior: probability in (0, 1) at which sigmoid scores start (RetinaNet, section 4.1);
                None starts all logits at 0.
            recomputed: keep the input of a branch alone, see ``activation_checkpointing``.
        """
        super().__init__()
        self.class_branches, self.box_branches = nn.ModuleList(), nn.ModuleList()
        for shape, anchors in zip(input_shapes, num_anchors, strict=True):
            for branches, outputs in (
                (self.class_branches, anchors * num_scores),
                (self.box_branches, anchors * 4),
            ):
                branches.append(_branch(shape.channels, outputs, num_convs, norm))
        if recomputed and num_convs:  # one convolution alone keeps no more than its input
            for branch in (*self.class_branches, *self.box_branches):
                recompute(branch)
        if prior is not None:
            for branch in self.class_branches:
                nn.init.constant_(branch[-1].bias, math.log(prior / (1 - prior)))

    def forward(self, features: list[Tensor]) -> list[list[Tensor]]:
        """
        Args:
            features: list of ``(N, D, H, W)``.

        Returns:
            list of ``(N, boxes * scores, H, W)`` logits, list of ``(N, boxes * 4, H, W)`` deltas.
        """
        return [
            [branch(x) for branch, x in zip(branches, features, strict=True)]
            for branches in (self.class_branches, self.box_branches)
        ]


def _branch(channels, outputs, num_convs, norm):
    convs = [
        Conv2d(
            channels,
            channels,
            kernel_size=3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, channels),
            activation=F.relu,
        )
        for _ in range(num_convs)
    ]
    for conv in convs:
        weight_init.c2_msra_fill(conv)
    predictor = nn.Conv2d(channels, outputs, kernel_size=3, padding=1)
    nn.init.normal_(predictor.weight, std=0.01)
    nn.init.zeros_(predictor.bias)
    return nn.Sequential(*convs, predictor)
