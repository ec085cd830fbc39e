"""Dynamic head of Sparse R-CNN (arXiv 2011.12450, section 3.2): stages that refine proposals."""

import math
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from bccd.modeling.activation_checkpointing import recomputed
from bccd.modeling.pooling import RegionPooler
from bccd.projects.sparse_rcnn.config_checks import check_head
from bccd.projects.sparse_rcnn.stage import RefinementStage

# Pixels. Far outside any image, and small enough that sides and areas stay finite.
FARTHEST = 1e8


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
        check_head(node, in_features, input_shape)
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
