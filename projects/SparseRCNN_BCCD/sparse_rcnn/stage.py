"""One stage of the dynamic head (arXiv 2011.12450, section 3.2).

Parameter names are those of the published implementation, so that its checkpoints load.
"""

import math

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
BOX_WEIGHTS = (2.0, 2.0, 1.0, 1.0)
# As published; Detectron2's own clamp is log(1000 / 16).
SCALE_CLAMP = math.log(100000.0 / 16)


class DynamicConv(nn.Module):
    """Interaction of each proposal with its own region: two 1x1 layers that its feature writes.

    Args:
        hidden_dim: D, channels of features and proposals.
        dim_dynamic: channels between the two layers.
        pooler_resolution: R, regions are R x R.
    """

    def __init__(self, hidden_dim: int, dim_dynamic: int, pooler_resolution: int) -> None:
        super().__init__()
        self.hidden_dim, self.dim_dynamic = hidden_dim, dim_dynamic
        self.dynamic_layer = nn.Linear(hidden_dim, 2 * hidden_dim * dim_dynamic)
        self.norm1 = nn.LayerNorm(dim_dynamic)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.activation = nn.ReLU(inplace=True)
        self.out_layer = nn.Linear(hidden_dim * pooler_resolution**2, hidden_dim)
        self.norm3 = nn.LayerNorm(hidden_dim)

    def forward(self, proposals: Tensor, regions: Tensor) -> Tensor:
        """Proposal features (B, D) and their region features (B, R * R, D) to features (B, D)."""
        first, second = self.dynamic_layer(proposals).chunk(2, dim=-1)
        first = first.view(-1, self.hidden_dim, self.dim_dynamic)
        second = second.view(-1, self.dim_dynamic, self.hidden_dim)
        regions = self.activation(self.norm1(torch.bmm(regions, first)))
        regions = self.activation(self.norm2(torch.bmm(regions, second)))
        return self.activation(self.norm3(self.out_layer(regions.flatten(1))))


def _tower(depth, dim):
    """``depth`` times Linear without bias, LayerNorm, ReLU."""
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class RefinementStage(nn.Module):
    """One stage of the head: attention among proposals, interaction with regions, prediction.

    Args:
        num_logits: outputs of the class layer: K, or K + 1 with softmax.
        activation: of the feed-forward layer, a key of ``ACTIVATIONS``.
        Others: see :class:`DynamicHead`.
    """

    def __init__(
        self,
        *,
        num_logits: int,
        hidden_dim: int,
        num_attention_heads: int,
        dim_feedforward: int,
        dim_dynamic: int,
        pooler_resolution: int,
        num_cls: int,
        num_reg: int,
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(
            hidden_dim, num_attention_heads, dropout=dropout, batch_first=True
        )
        self.inst_interact = DynamicConv(hidden_dim, dim_dynamic, pooler_resolution)
        self.linear1 = nn.Linear(hidden_dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, hidden_dim)
        self.norm1 = nn.LayerNorm(hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.norm3 = nn.LayerNorm(hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.activation = ACTIVATIONS[activation]()
        self.cls_module = _tower(num_cls, hidden_dim)
        self.reg_module = _tower(num_reg, hidden_dim)
        self.class_logits = nn.Linear(hidden_dim, num_logits)
        self.bboxes_delta = nn.Linear(hidden_dim, 4)
        self.box_transform = Box2BoxTransform(BOX_WEIGHTS, SCALE_CLAMP)

    def prediction_layers(self) -> tuple[nn.Module, ...]:
        """The modules behind the refined feature, whose gradients come from this stage alone."""
        return self.cls_module, self.class_logits, self.reg_module, self.bboxes_delta

    def forward(self, proposals: Tensor, regions: Tensor) -> Tensor:
        """Refine proposal features (N, P, D) by region features (N * P, R * R, D); same shape."""
        attended = self.self_attn(proposals, proposals, proposals, need_weights=False)[0]
        proposals = self.norm1(proposals + self.dropout(attended))
        interacted = self.inst_interact(proposals.flatten(0, 1), regions).view_as(proposals)
        proposals = self.norm2(proposals + self.dropout(interacted))
        transformed = self.linear2(self.dropout(self.activation(self.linear1(proposals))))
        return self.norm3(proposals + self.dropout(transformed))

    def classify(self, proposals: Tensor) -> Tensor:
        """Class logits (N, P, num_logits) of refined features (N, P, D)."""
        return self.class_logits(self.cls_module(proposals))

    def move(self, boxes: Tensor, proposals: Tensor) -> Tensor:
        """Boxes (N, P, 4), XYXY in pixels, moved as refined features (N, P, D) say; fp32."""
        deltas = self.bboxes_delta(self.reg_module(proposals))
        moved = self.box_transform.apply_deltas(deltas.flatten(0, 1), boxes.flatten(0, 1))
        return moved.view_as(boxes)
