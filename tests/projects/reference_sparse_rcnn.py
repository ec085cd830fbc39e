"""Sparse R-CNN written naively from its paper (arXiv 2011.12450): one image, one stage at a time.

Parameter names are those of the published checkpoints. Reads the same config keys as the project.
"""

import math

import torch
import torch.nn.functional as F
from detectron2.modeling import build_backbone
from scipy.optimize import linear_sum_assignment
from torch import nn
from torchvision.ops import generalized_box_iou, roi_align


class ReferenceDynamicConv(nn.Module):
    def __init__(self, dim, dynamic, resolution):
        super().__init__()
        self.dim, self.dynamic = dim, dynamic
        self.dynamic_layer = nn.Linear(dim, 2 * dim * dynamic)
        self.norm1, self.norm2 = nn.LayerNorm(dynamic), nn.LayerNorm(dim)
        self.out_layer = nn.Linear(dim * resolution**2, dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, feature, region):
        """One proposal: feature (D,), region (D, R, R)."""
        parameters = self.dynamic_layer(feature)
        first = parameters[: self.dim * self.dynamic].reshape(self.dim, self.dynamic)
        second = parameters[self.dim * self.dynamic :].reshape(self.dynamic, self.dim)
        points = region.flatten(1).t()
        points = F.relu(self.norm1(points @ first))
        points = F.relu(self.norm2(points @ second))
        return F.relu(self.norm3(self.out_layer(points.flatten())))


class ReferenceStage(nn.Module):
    def __init__(self, node, resolution):
        super().__init__()
        dim = node.HIDDEN_DIM
        self.self_attn = nn.MultiheadAttention(dim, node.NHEADS)
        self.inst_interact = ReferenceDynamicConv(dim, node.DIM_DYNAMIC, resolution)
        self.linear1 = nn.Linear(dim, node.DIM_FEEDFORWARD)
        self.linear2 = nn.Linear(node.DIM_FEEDFORWARD, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.cls_module, self.reg_module = (
            nn.ModuleList(
                layer
                for _ in range(depth)
                for layer in (nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU())
            )
            for depth in (node.NUM_CLS, node.NUM_REG)
        )
        self.class_logits = nn.Linear(dim, node.NUM_CLASSES + (not node.USE_FOCAL))
        self.bboxes_delta = nn.Linear(dim, 4)

    def forward(self, maps, boxes, features):
        """One image: maps {stride: (D, H, W)}, boxes (P, 4), features (P, D)."""
        sequence = features[:, None]
        attended = self.self_attn(sequence, sequence, sequence)[0][:, 0]
        features = self.norm1(features + attended)
        interacted = [
            self.inst_interact(feature, pool(maps, box))
            for feature, box in zip(features, boxes, strict=True)
        ]
        features = self.norm2(features + torch.stack(interacted))
        features = self.norm3(features + self.linear2(F.relu(self.linear1(features))))
        cls, reg = features, features
        for layer in self.cls_module:
            cls = layer(cls)
        for layer in self.reg_module:
            reg = layer(reg)
        deltas = self.bboxes_delta(reg)
        moved = [move(box, delta) for box, delta in zip(boxes, deltas, strict=True)]
        return self.class_logits(cls), torch.stack(moved), features


def pool(maps, box, resolution=7):
    """Region (D, R, R) of one box from the level that its size asks for (FPN, equation 1)."""
    x0, y0, x1, y1 = box.tolist()
    size = math.sqrt((x1 - x0) * (y1 - y0))
    level = math.floor(4 + math.log2(size / 224 + 1e-8))
    stride = 2 ** min(max(level, int(math.log2(min(maps)))), int(math.log2(max(maps))))
    rois = [box[None]]
    return roi_align(maps[stride][None], rois, resolution, 1 / stride, 2, aligned=True)[0]


def move(box, delta):
    """Box (4,) moved and scaled by delta (4,), whose weights are (2, 2, 1, 1)."""
    x0, y0, x1, y1 = box.unbind()
    width, height = x1 - x0, y1 - y0
    limit = math.log(100000 / 16)
    center_x = x0 + width / 2 + delta[0] / 2 * width
    center_y = y0 + height / 2 + delta[1] / 2 * height
    width, height = (
        width * delta[2].clamp(max=limit).exp(),
        height * delta[3].clamp(max=limit).exp(),
    )
    return torch.stack(
        [center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2]
    )


class ReferenceHead(nn.Module):
    def __init__(self, node, resolution):
        super().__init__()
        self.head_series = nn.ModuleList(
            ReferenceStage(node, resolution) for _ in range(node.NUM_HEADS)
        )

    def forward(self, maps, boxes, features):
        """Logits and boxes of every stage, for one image."""
        outputs = []
        for stage in self.head_series:
            logits, boxes, features = stage(maps, boxes, features)
            outputs.append((logits, boxes))
            boxes = boxes.detach()
        return outputs


class ReferenceSparseRCNN(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, self.node = cfg, cfg.MODEL.SparseRCNN
        self.backbone = build_backbone(cfg)
        self.init_proposal_features = nn.Embedding(self.node.NUM_PROPOSALS, self.node.HIDDEN_DIM)
        self.init_proposal_boxes = nn.Embedding(self.node.NUM_PROPOSALS, 4)
        self.head = ReferenceHead(self.node, cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION)
        if not self.node.USE_FOCAL:
            self.criterion = nn.Module()
            weight = torch.tensor([1.0] * self.node.NUM_CLASSES + [self.node.NO_OBJECT_WEIGHT])
            self.criterion.register_buffer("empty_weight", weight)

    def predict(self, batched_inputs):
        """For each image: [(logits (P, K), boxes (P, 4)) of each stage]."""
        mean, std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (self.cfg.MODEL.PIXEL_MEAN, self.cfg.MODEL.PIXEL_STD)
        )
        sizes = [x["image"].shape[1:] for x in batched_inputs]
        height, width = (-(-max(side) // 32) * 32 for side in zip(*sizes, strict=True))
        batch = torch.zeros(len(sizes), 3, height, width)
        for padded, x, (h, w) in zip(batch, batched_inputs, sizes, strict=True):
            padded[:, :h, :w] = (x["image"] - mean) / std
        maps = self.backbone(batch)
        strides = {
            self.backbone.output_shape()[f].stride: maps[f]
            for f in self.cfg.MODEL.ROI_HEADS.IN_FEATURES
        }
        outputs = []
        for i, (h, w) in enumerate(sizes):
            cx, cy, bw, bh = self.init_proposal_boxes.weight.unbind(1)
            corners = [(cx - bw / 2) * w, (cy - bh / 2) * h, (cx + bw / 2) * w, (cy + bh / 2) * h]
            image_maps = {stride: level[i] for stride, level in strides.items()}
            features = self.init_proposal_features.weight
            outputs.append(self.head(image_maps, torch.stack(corners, 1), features))
        return outputs

    def losses(self, batched_inputs):
        """Weighted training losses, by name."""
        outputs = self.predict(batched_inputs)
        targets = [x["instances"] for x in batched_inputs]
        num_boxes = max(1, sum(len(x) for x in targets))
        losses = {}
        for s in range(self.node.NUM_HEADS):
            suffix = "" if s == self.node.NUM_HEADS - 1 else f"_{s}"
            stage = [image[s] for image in outputs]
            for name, value in self.stage_losses(stage, targets, num_boxes).items():
                losses[name + suffix] = value
        return losses

    def stage_losses(self, stage, targets, num_boxes):
        node = self.node
        ce = l1 = giou = weights = 0
        for (logits, boxes), target in zip(stage, targets, strict=True):
            h, w = target.image_size
            size = torch.tensor([w, h, w, h], dtype=torch.float32)
            gt = target.gt_boxes.tensor
            rows, columns = match(node, logits, boxes, gt, target.gt_classes, size)
            labels = torch.full((len(boxes),), node.NUM_CLASSES)
            for p, m in zip(rows, columns, strict=True):
                labels[p] = target.gt_classes[m]
                l1 = l1 + (boxes[p] / size - gt[m] / size).abs().sum()
                giou = giou + 1 - generalized_box_iou(boxes[p : p + 1], gt[m : m + 1])[0, 0]
            if node.USE_FOCAL:
                ce = ce + focal_loss(logits, labels, node) / num_boxes
            else:
                weight = self.criterion.empty_weight[labels]
                ce = ce - (logits.log_softmax(1)[range(len(labels)), labels] * weight).sum()
                weights = weights + weight.sum()
        if not node.USE_FOCAL:
            ce = ce / weights
        return {
            "loss_ce": node.CLASS_WEIGHT * ce,
            "loss_bbox": node.L1_WEIGHT * l1 / num_boxes,
            "loss_giou": node.GIOU_WEIGHT * giou / num_boxes,
        }

    def detections(self, batched_inputs):
        """For each image, (score, class, box) of the best P, in descending order of score.

        Boxes are in the size of the input.
        """
        results = []
        for image in self.predict(batched_inputs):
            logits, boxes = image[-1]
            prob = logits.sigmoid() if self.node.USE_FOCAL else logits.softmax(1)[:, :-1]
            found = []
            for p in range(len(boxes)):
                classes = range(prob.shape[1]) if self.node.USE_FOCAL else [int(prob[p].argmax())]
                found += [(float(prob[p, k]), k, boxes[p]) for k in classes]
            found.sort(key=lambda detection: -detection[0])
            results.append(found[: self.node.NUM_PROPOSALS])
        return results


def focal_loss(logits, labels, node):
    total = 0
    for p, label in enumerate(labels):
        for k in range(node.NUM_CLASSES):
            logit = logits[p, k] if k == label else -logits[p, k]
            alpha = node.ALPHA if k == label else 1 - node.ALPHA
            total = total - alpha * (1 - logit.sigmoid()) ** node.GAMMA * F.logsigmoid(logit)
    return total


def match(node, logits, boxes, gt, classes, size):
    """Proposals and ground-truth boxes of the least-cost one-to-one assignment."""
    prob = logits.detach().sigmoid() if node.USE_FOCAL else logits.detach().softmax(1)
    cost = torch.zeros(len(boxes), len(gt))
    for p in range(len(boxes)):
        for m in range(len(gt)):
            score = prob[p, classes[m]]
            class_cost = -score
            if node.USE_FOCAL:
                positive = -node.ALPHA * (1 - score) ** node.GAMMA * (score + 1e-8).log()
                negative = -(1 - node.ALPHA) * score**node.GAMMA * (1 - score + 1e-8).log()
                class_cost = positive - negative
            giou = generalized_box_iou(boxes[p : p + 1].detach(), gt[m : m + 1])[0, 0]
            l1 = (boxes[p].detach() / size - gt[m] / size).abs().sum()
            cost[p, m] = (
                node.CLASS_WEIGHT * class_cost + node.L1_WEIGHT * l1 - node.GIOU_WEIGHT * giou
            )
    return linear_sum_assignment(cost.numpy())
