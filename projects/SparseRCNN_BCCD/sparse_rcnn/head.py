"""Dynamic head of Sparse R-CNN (arXiv 2011.12450, section 3.2): stages that refine proposals.

Parameter names are those of the published implementation, so that its checkpoints load.
"""

import math
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from torch import Tensor, nn

from bccd.modeling.activation_checkpointing import recomputed
from bccd.modeling.pooling import RegionPooler

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
BOX_WEIGHTS = (2.0, 2.0, 1.0, 1.0)
# As published; Detectron2's own clamp is log(1000 / 16).
SCALE_CLAMP = math.log(100000.0 / 16)
# Pixels. Far outside any image, and small enough that sides and areas stay finite.
FARTHEST = 1e8


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


class DynamicHead(nn.Module):
    """A series of :class:`RefinementStage`; each starts from the boxes of the one before.

    Args:
        pooler: cuts R x R regions out of the feature maps.
        num_stages: S.
        num_classes: K.
        hidden_dim: D, channels of the feature maps and of the proposal features.
        num_attention_heads: heads of the attention among proposals; divides D.
        deep_supervision: when training, predict at every stage instead of the last alone.
        test_stages: stages to use at inference, the first ones; 0: all.
        use_focal: sigmoid class scores, which start at ``prior_prob``; else softmax with
            a further class, the last, for "no object".
        recompute: keep the inputs of a stage alone, see ``activation_checkpointing``.
        stage_options: the other arguments of :class:`RefinementStage`.
    """

    @configurable
    def __init__(
        self,
        *,
        pooler: RegionPooler,
        num_stages: int,
        num_classes: int,
        hidden_dim: int,
        num_attention_heads: int,
        deep_supervision: bool,
        test_stages: int = 0,
        use_focal: bool,
        prior_prob: float,
        recompute: bool = False,
        **stage_options: Any,
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.deep_supervision = deep_supervision
        self.test_stages = test_stages or num_stages
        self.recompute = recompute
        self.head_series = nn.ModuleList(
            RefinementStage(
                num_logits=num_classes if use_focal else num_classes + 1,
                hidden_dim=hidden_dim,
                num_attention_heads=num_attention_heads,
                **stage_options,
            )
            for _ in range(num_stages)
        )
        self._init_weights(prior_prob if use_focal else None)
        if not deep_supervision:
            # Boxes are detached between stages, so no gradient reaches these; DDP wants to know.
            for stage in self.head_series[:-1]:
                for module in stage.prediction_layers():
                    module.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments from ``cfg`` and the feature maps' ``{name: ShapeSpec}``.

        Raises:
            ValueError: options that do not fit together; names the key.
        """
        node, in_features = cfg.MODEL.SparseRCNN, cfg.MODEL.ROI_HEADS.IN_FEATURES
        _check_config(node, in_features, input_shape)
        box_head = cfg.MODEL.ROI_BOX_HEAD
        return {
            "pooler": RegionPooler(
                output_size=box_head.POOLER_RESOLUTION,
                scales=tuple(1.0 / input_shape[name].stride for name in in_features),
                sampling_ratio=box_head.POOLER_SAMPLING_RATIO,
                pooler_type=box_head.POOLER_TYPE,
            ),
            "num_stages": node.NUM_HEADS,
            "num_classes": node.NUM_CLASSES,
            "hidden_dim": node.HIDDEN_DIM,
            "num_attention_heads": node.NHEADS,
            "deep_supervision": node.DEEP_SUPERVISION,
            "test_stages": node.STAGES_TEST,
            "use_focal": node.USE_FOCAL,
            "prior_prob": node.PRIOR_PROB,
            "recompute": cfg.MODEL.ACTIVATION_CHECKPOINTING,
            "dim_feedforward": node.DIM_FEEDFORWARD,
            "dim_dynamic": node.DIM_DYNAMIC,
            "pooler_resolution": box_head.POOLER_RESOLUTION,
            "num_cls": node.NUM_CLS,
            "num_reg": node.NUM_REG,
            "dropout": node.DROPOUT,
            "activation": node.ACTIVATION,
        }

    def _init_weights(self, prior_prob):
        for param in self.parameters():
            if param.dim() > 1:
                nn.init.xavier_uniform_(param)
        for stage in self.head_series:
            # Boxes start where the proposals are; as published, random layers scatter them first.
            nn.init.zeros_(stage.bboxes_delta.weight)
            nn.init.zeros_(stage.bboxes_delta.bias)
        if prior_prob is not None:
            bias = -math.log((1 - prior_prob) / prior_prob)
            for stage in self.head_series:
                nn.init.constant_(stage.class_logits.bias, bias)

    def forward(
        self, features: list[Tensor], boxes: Tensor, proposals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine proposals stage by stage.

        Args:
            features: feature maps (N, D, H, W), from fine to coarse.
            boxes: (N, P, 4) proposal boxes, XYXY in pixels.
            proposals: (N, P, D) proposal features.

        Returns:
            logits (S, N, P, K), or K + 1 with softmax, and boxes (S, N, P, 4) in pixels, fp32: of
            every stage when training with deep supervision, else of the last used alone (S = 1).
        """
        features = self._prepare(features)
        all_logits, all_boxes = [], []
        stages = self.head_series if self.training else self.head_series[: self.test_stages]
        for number, stage in enumerate(stages, start=1):
            inputs = stage, features, boxes, proposals
            proposals = recomputed(self._refine, *inputs, part=stage, when=self.recompute)
            boxes = stage.move(boxes, proposals)
            if number == len(stages) or (self.training and self.deep_supervision):
                all_logits.append(stage.classify(proposals))
                all_boxes.append(boxes)
            boxes = boxes.detach()
        return torch.stack(all_logits), torch.stack(all_boxes)

    def _refine(self, stage, features, boxes, proposals):
        return stage(proposals, self._pool(features, boxes))

    def _prepare(self, features):
        """What :meth:`_pool` takes, made once for all stages."""
        return self.pooler.prepare(features)

    def _pool(self, features, boxes):
        """Region features (N * P, R * R, D) of boxes (N, P, 4) in prepared maps."""
        # ROIAlign reads outside its memory where a coordinate is NaN or infinite.
        boxes = boxes.nan_to_num(nan=0.0).clamp(-FARTHEST, FARTHEST)
        return self.pooler(features, boxes)


def _check_config(node, in_features, input_shape):
    """Raise ValueError where keys of ``MODEL.SparseRCNN`` do not fit each other or the backbone."""
    if not set(in_features) <= set(input_shape):
        raise ValueError(
            f"MODEL.ROI_HEADS.IN_FEATURES is {in_features}; the backbone has {list(input_shape)}"
        )
    channels = {input_shape[name].channels for name in in_features}
    if channels != {node.HIDDEN_DIM}:
        raise ValueError(
            f"MODEL.SparseRCNN.HIDDEN_DIM is {node.HIDDEN_DIM} and the feature maps in "
            f"MODEL.ROI_HEADS.IN_FEATURES have {sorted(channels)} channels; set "
            "MODEL.FPN.OUT_CHANNELS to the same number"
        )
    if node.HIDDEN_DIM % node.NHEADS:
        raise ValueError(
            f"MODEL.SparseRCNN.NHEADS {node.NHEADS} does not divide HIDDEN_DIM {node.HIDDEN_DIM}"
        )
    if node.ACTIVATION not in ACTIVATIONS:
        raise ValueError(
            f"MODEL.SparseRCNN.ACTIVATION is {node.ACTIVATION!r}; known: {', '.join(ACTIVATIONS)}"
        )
    if node.NUM_DYNAMIC != 2:
        raise ValueError(
            f"MODEL.SparseRCNN.NUM_DYNAMIC is {node.NUM_DYNAMIC}; Sparse R-CNN is defined for 2"
        )
    if node.NUM_HEADS < 1:
        raise ValueError(f"MODEL.SparseRCNN.NUM_HEADS is {node.NUM_HEADS}; at least 1 stage")
    if not 0 <= node.STAGES_TEST <= node.NUM_HEADS:
        raise ValueError(
            f"MODEL.SparseRCNN.STAGES_TEST is {node.STAGES_TEST}; give 1 to NUM_HEADS "
            f"{node.NUM_HEADS}, or 0 for all"
        )
    if not node.DEEP_SUPERVISION and node.STAGES_TEST not in (0, node.NUM_HEADS):
        raise ValueError(
            "MODEL.SparseRCNN.STAGES_TEST needs DEEP_SUPERVISION: without it the earlier stages "
            "have not learnt to predict"
        )
