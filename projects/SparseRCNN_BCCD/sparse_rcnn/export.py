"""Sparse R-CNN as ``torch.export`` can trace it: no loop over images, no choice by data."""

import copy

import torch
from torchvision.ops import box_convert

from bccd.export.detector import NO_DETECTION, ExportableDetector, exportable
from bccd.projects.sparse_rcnn.detector import SparseRCNN
from bccd.projects.sparse_rcnn.head import finite


class ExportableSparseRCNN(ExportableDetector):
    """:class:`SparseRCNN`; detections equal those of its ``forward``."""

    def __init__(self, model):
        super().__init__(
            model,
            score_threshold=model.score_thresh,
            max_detections=min(model.max_detections, model.num_proposals),
        )
        self.head = copy.copy(model.head)
        # A lookup in a table of all levels, as on the CPU, has no fast operator in ONNX.
        self.head._prepare, self.head._pool = list, self._pool

    def detect(self, images, height, width):
        """See :class:`ExportableDetector`."""
        model = self.model
        maps = model.backbone(images)
        if model.dense_proposals:
            dense = model.dense_head([maps[name] for name in model.dense_in_features])
            boxes, proposals = model.best_of_dense(*dense)
        else:
            boxes, proposals = self._learnt_proposals(images.shape[0], height, width)
        features = [maps[name] for name in model.in_features]
        logits, boxes = self.head(features, boxes, proposals)
        scores, boxes, classes = model.best(logits[-1], boxes[-1])
        return boxes, scores.where(scores >= self.score_threshold, NO_DETECTION), classes

    def _learnt_proposals(self, count, height, width):
        boxes = box_convert(self.model.init_proposal_boxes.weight, "cxcywh", "xyxy")
        x1, y1, x2, y2 = boxes.unbind(-1)
        boxes = torch.stack([x1 * width, y1 * height, x2 * width, y2 * height], dim=-1)
        features = self.model.init_proposal_features.weight
        return boxes.expand(count, -1, -1), features.expand(count, -1, -1)

    def _pool(self, features, boxes):
        """As ``DynamicHead._pool``, but cuts every box out of every level and then chooses."""
        boxes = finite(boxes)
        image = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
        image = image[:, None, None].expand(-1, boxes.shape[1], 1)
        regions = torch.cat([image, boxes], dim=2).flatten(0, 1)
        pooler = self.model.head.pooler
        levels = pooler.level_of(regions[:, 1:])[:, None, None, None]
        pooled = pooler.level_poolers[0](features[0], regions)
        for level in range(1, len(features)):
            on_level = pooler.level_poolers[level](features[level], regions)
            pooled = torch.where(levels == level, on_level, pooled)
        return pooled.flatten(2).transpose(1, 2)


exportable.register(SparseRCNN, ExportableSparseRCNN)
