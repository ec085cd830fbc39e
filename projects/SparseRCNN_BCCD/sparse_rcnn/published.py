"""Sparse R-CNN as published (arXiv 2011.12450), without any thought of speed.

What ours is timed against: a loop over the stages, Detectron2's ROIPooler on boxes image by image,
class and box branch of every stage also at inference, images in the usual memory format, matching
with one copy to the host for every stage and image, an optimizer with a group for each parameter.
Focal loss only. Parameter names are the published ones, so weights go from ours to this and back.
``reference_sparse_rcnn.py`` is the same model for those who doubt it: one proposal at a time.
"""

import math

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, detector_postprocess
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, ImageList, Instances
from fvcore.nn import sigmoid_focal_loss
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou

# Where the lite configs depart from what was published; applied to both sides of a comparison.
# Learnt boxes lie on a grid: as whole images, all would be pooled from the coarsest level.
OPTIONS = [
    *("MODEL.SparseRCNN.PROPOSALS", "learnt", "MODEL.SparseRCNN.INIT_BOXES", "grid"),
    *("MODEL.SparseRCNN.DENSE_WEIGHT", "0.0", "MODEL.SparseRCNN.DENOISING_COPIES", "0"),
    *("MODEL.SparseRCNN.QUALITY_SCORES", "False", "MODEL.SparseRCNN.REPEAT_TRUTH", "()"),
    *("MODEL.MISSING_LABELS.ENABLED", "False", "SOLVER.AMP.ENABLED", "False"),
    *("SOLVER.EMA.ENABLED", "False"),
]


class DynamicConv(nn.Module):
    """Convolutions whose weights come from the proposal (section 3.2)."""

    def __init__(self, node: CfgNode, resolution: int) -> None:
        super().__init__()
        self.dim, self.dynamic = node.HIDDEN_DIM, node.DIM_DYNAMIC
        self.dynamic_layer = nn.Linear(self.dim, 2 * self.dim * self.dynamic)
        self.norm1, self.norm2 = nn.LayerNorm(self.dynamic), nn.LayerNorm(self.dim)
        self.out_layer = nn.Linear(self.dim * resolution**2, self.dim)
        self.norm3 = nn.LayerNorm(self.dim)

    def forward(self, proposals: Tensor, regions: Tensor) -> Tensor:
        """Proposals (B, D) and regions (B, R * R, D) to features (B, D)."""
        parameters = self.dynamic_layer(proposals)
        half = self.dim * self.dynamic
        first = parameters[:, :half].reshape(-1, self.dim, self.dynamic)
        second = parameters[:, half:].reshape(-1, self.dynamic, self.dim)
        regions = F.relu(self.norm1(torch.bmm(regions, first)))
        regions = F.relu(self.norm2(torch.bmm(regions, second)))
        return F.relu(self.norm3(self.out_layer(regions.flatten(1))))


def tower(depth: int, dim: int) -> nn.ModuleList:
    """Linear layers of a class or box branch."""
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU()]
    return nn.ModuleList(layers)


class Stage(nn.Module):
    """One refinement of all proposals (section 3.2)."""

    def __init__(self, node: CfgNode, resolution: int) -> None:
        super().__init__()
        dim = node.HIDDEN_DIM
        self.self_attn = nn.MultiheadAttention(dim, node.NHEADS, dropout=node.DROPOUT)
        self.inst_interact = DynamicConv(node, resolution)
        self.linear1 = nn.Linear(dim, node.DIM_FEEDFORWARD)
        self.linear2 = nn.Linear(node.DIM_FEEDFORWARD, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(node.DROPOUT)
        self.cls_module, self.reg_module = tower(node.NUM_CLS, dim), tower(node.NUM_REG, dim)
        self.class_logits = nn.Linear(dim, node.NUM_CLASSES)
        self.bboxes_delta = nn.Linear(dim, 4)
        self.box_transform = Box2BoxTransform((2.0, 2.0, 1.0, 1.0), math.log(100000 / 16))

    def forward(
        self, features: list[Tensor], boxes: Tensor, proposals: Tensor, pooler: ROIPooler
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, P, 4) and proposals (N, P, D); returns logits (N, P, K) and both of these."""
        shape = proposals.shape
        regions = pooler(features, [Boxes(image_boxes) for image_boxes in boxes])
        regions = regions.flatten(2).transpose(1, 2)
        sequence = proposals.transpose(0, 1)
        attended = self.self_attn(sequence, sequence, value=sequence)[0].transpose(0, 1)
        proposals = self.norm1(proposals + self.dropout(attended))
        interacted = self.inst_interact(proposals.reshape(-1, shape[-1]), regions).view(shape)
        proposals = self.norm2(proposals + self.dropout(interacted))
        transformed = self.linear2(self.dropout(F.relu(self.linear1(proposals))))
        proposals = self.norm3(proposals + self.dropout(transformed))
        cls, reg = proposals, proposals
        for layer in self.cls_module:
            cls = layer(cls)
        for layer in self.reg_module:
            reg = layer(reg)
        deltas = self.bboxes_delta(reg).view(-1, 4)
        boxes = self.box_transform.apply_deltas(deltas, boxes.reshape(-1, 4)).view(boxes.shape)
        return self.class_logits(cls), boxes, proposals


class Head(nn.Module):
    """The stages in turn."""

    def __init__(self, cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> None:
        super().__init__()
        node, box_head = cfg.MODEL.SparseRCNN, cfg.MODEL.ROI_BOX_HEAD
        self.pooler = ROIPooler(
            output_size=box_head.POOLER_RESOLUTION,
            scales=tuple(1 / shapes[name].stride for name in cfg.MODEL.ROI_HEADS.IN_FEATURES),
            sampling_ratio=box_head.POOLER_SAMPLING_RATIO,
            pooler_type=box_head.POOLER_TYPE,
        )
        self.head_series = nn.ModuleList(
            Stage(node, box_head.POOLER_RESOLUTION) for _ in range(node.NUM_HEADS)
        )

    def forward(
        self, features: list[Tensor], boxes: Tensor, proposals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (S, N, P, K) and boxes (S, N, P, 4) of all stages."""
        all_logits, all_boxes = [], []
        for stage in self.head_series:
            logits, boxes, proposals = stage(features, boxes, proposals, self.pooler)
            all_logits.append(logits)
            all_boxes.append(boxes)
            boxes = boxes.detach()
        return torch.stack(all_logits), torch.stack(all_boxes)


class Criterion(nn.Module):
    """Set-prediction loss (section 3.4), focal."""

    def __init__(self, node: CfgNode) -> None:
        super().__init__()
        self.node = node

    def forward(
        self, all_logits: Tensor, all_boxes: Tensor, instances: list[Instances]
    ) -> dict[str, Tensor]:
        """Weighted losses by name, stage after stage."""
        num_boxes = max(1, sum(len(x) for x in instances))
        losses = {}
        for index, (logits, boxes) in enumerate(zip(all_logits, all_boxes, strict=True)):
            pairs = self.match(logits, boxes, instances)
            suffix = "" if index == len(all_logits) - 1 else f"_{index}"
            for name, loss in self.stage_losses(logits, boxes, instances, pairs).items():
                losses[name + suffix] = loss / num_boxes
        return losses

    @torch.no_grad()
    def match(
        self, logits: Tensor, boxes: Tensor, instances: list[Instances]
    ) -> list[list[Tensor]]:
        """(proposals, ground truth) of the pairs of each image."""
        node, pairs = self.node, []
        for image_logits, image_boxes, truth in zip(logits, boxes, instances, strict=True):
            prob = image_logits.sigmoid()
            positive = node.ALPHA * (1 - prob) ** node.GAMMA * -(prob + 1e-8).log()
            negative = (1 - node.ALPHA) * prob**node.GAMMA * -(1 - prob + 1e-8).log()
            gt, size = truth.gt_boxes.tensor, image_whwh(truth)
            cost = (
                node.CLASS_WEIGHT * (positive - negative)[:, truth.gt_classes]
                + node.L1_WEIGHT * torch.cdist(image_boxes / size, gt / size, p=1)
                - node.GIOU_WEIGHT * generalized_box_iou(image_boxes, gt)
            )
            assigned = linear_sum_assignment(cost.cpu().numpy())
            pairs.append([torch.as_tensor(x, device=gt.device) for x in assigned])
        return pairs

    def stage_losses(
        self,
        logits: Tensor,
        boxes: Tensor,
        instances: list[Instances],
        pairs: list[list[Tensor]],
    ) -> dict[str, Tensor]:
        """Weighted sums over the pairs of a stage, by name."""
        node = self.node
        targets = torch.zeros_like(logits)
        l1 = giou = 0
        for i, ((rows, columns), truth) in enumerate(zip(pairs, instances, strict=True)):
            targets[i, rows, truth.gt_classes[columns]] = 1
            found, gt, size = boxes[i, rows], truth.gt_boxes.tensor[columns], image_whwh(truth)
            l1 = l1 + F.l1_loss(found / size, gt / size, reduction="sum")
            giou = giou + (1 - generalized_box_iou(found, gt).diag()).sum()
        ce = sigmoid_focal_loss(
            logits, targets, alpha=node.ALPHA, gamma=node.GAMMA, reduction="sum"
        )
        return {
            "loss_ce": node.CLASS_WEIGHT * ce,
            "loss_bbox": node.L1_WEIGHT * l1,
            "loss_giou": node.GIOU_WEIGHT * giou,
        }


def image_whwh(truth: Instances) -> Tensor:
    """(w, h, w, h) of an image, in pixels."""
    return truth.gt_boxes.tensor.new_tensor(truth.image_size[::-1] * 2)


class PublishedSparseRCNN(nn.Module):
    """The detector; not in a registry."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        node = cfg.MODEL.SparseRCNN
        self.backbone = build_backbone(cfg)
        self.in_features = cfg.MODEL.ROI_HEADS.IN_FEATURES
        self.head = Head(cfg, self.backbone.output_shape())
        self.criterion = Criterion(node)
        self.init_proposal_features = nn.Embedding(node.NUM_PROPOSALS, node.HIDDEN_DIM)
        self.init_proposal_boxes = nn.Embedding(node.NUM_PROPOSALS, 4)
        for name in ("pixel_mean", "pixel_std"):
            values = torch.tensor(cfg.MODEL[name.upper()]).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.to(cfg.MODEL.DEVICE)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Detectron2's model contract."""
        images = self.preprocess_image(batched_inputs)
        maps = self.backbone(images.tensor)
        features = [maps[name] for name in self.in_features]
        boxes = box_convert(self.init_proposal_boxes.weight, "cxcywh", "xyxy")
        sizes = boxes.new_tensor([size[::-1] * 2 for size in images.image_sizes])
        boxes = boxes[None] * sizes[:, None]
        proposals = self.init_proposal_features.weight[None].repeat(len(images), 1, 1)
        logits, boxes = self.head(features, boxes, proposals)
        if self.training:
            instances = [x["instances"].to(self.device) for x in batched_inputs]
            return self.criterion(logits, boxes, instances)
        return self.inference(logits[-1], boxes[-1], batched_inputs, images.image_sizes)

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise the images and pad them to one ImageList."""
        images = [
            (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs
        ]
        return ImageList.from_tensors(images, self.backbone.size_divisibility)

    def inference(
        self,
        logits: Tensor,
        boxes: Tensor,
        batched_inputs: list[dict],
        sizes: list[tuple[int, int]],
    ) -> list[dict]:
        """The most confident classes of the last stage, in pixels of the original images."""
        results = []
        for image_logits, image_boxes, x, size in zip(
            logits, boxes, batched_inputs, sizes, strict=True
        ):
            classes = image_logits.shape[1]
            scores, index = image_logits.sigmoid().flatten().topk(len(image_boxes), sorted=True)
            found = Instances(size)
            found.pred_boxes = Boxes(image_boxes[index // classes])
            found.scores, found.pred_classes = scores, index % classes
            output = x.get("height", size[0]), x.get("width", size[1])
            results.append({"instances": detector_postprocess(found, *output)})
        return results


def build_model(cfg: CfgNode) -> PublishedSparseRCNN:
    """The detector of ``cfg``; see ``bccd.modeling.capabilities``."""
    return PublishedSparseRCNN(cfg)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with one group for each parameter, and clipping of the whole gradient."""
    solver, groups = cfg.SOLVER, []
    for name, param in model.named_parameters():
        if param.requires_grad:
            lr = solver.BASE_LR * (solver.BACKBONE_MULTIPLIER if "backbone" in name else 1)
            groups.append({"params": [param], "lr": lr, "weight_decay": solver.WEIGHT_DECAY})
    kinds = {"ADAM": torch.optim.Adam, "ADAMW": torch.optim.AdamW, "SGD": torch.optim.SGD}
    optimizer = kinds[solver.OPTIMIZER](groups, lr=solver.BASE_LR)
    parameters = [group["params"][0] for group in groups]
    clip = solver.CLIP_GRADIENTS

    def clip_whole_gradient(*_):
        torch.nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

    optimizer.register_step_pre_hook(clip_whole_gradient)
    return optimizer
