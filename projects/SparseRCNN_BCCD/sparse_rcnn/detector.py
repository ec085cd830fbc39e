"""Sparse R-CNN (arXiv 2011.12450): a fixed set of learnt proposals, no anchors, no NMS."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import nn
from torchvision.ops import box_convert

from bccd.projects.sparse_rcnn.criterion import SetCriterion
from bccd.projects.sparse_rcnn.head import DynamicHead


@META_ARCH_REGISTRY.register()
class SparseRCNN(nn.Module):
    """End-to-end detector; parameter names and results as published.

    Args:
        backbone (Backbone): with a feature pyramid.
        head (DynamicHead): refines proposals.
        criterion (SetCriterion): training losses.
        in_features (list[str]): pyramid levels for the head, from fine to coarse.
        num_proposals (int): P.
        hidden_dim (int): D, channels of the proposal features.
        use_focal (bool): class scores by sigmoid; else softmax with "no object" last.
        pixel_mean, pixel_std (list[float]): per channel, in the order of the input.
        score_thresh (float): detections below are not returned.
        max_detections (int): detections per image; negative: P.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone,
        head,
        criterion,
        in_features,
        num_proposals,
        hidden_dim,
        use_focal,
        pixel_mean,
        pixel_std,
        score_thresh,
        max_detections,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.criterion = criterion
        self.in_features = in_features
        self.use_focal = use_focal
        self.score_thresh = score_thresh
        self.max_detections = num_proposals if max_detections < 0 else max_detections

        self.init_proposal_features = nn.Embedding(num_proposals, hidden_dim)
        # (cx, cy, w, h) relative to the image: each starts as the whole image.
        self.init_proposal_boxes = nn.Embedding(num_proposals, 4)
        with torch.no_grad():
            self.init_proposal_boxes.weight.copy_(torch.tensor([0.5, 0.5, 1.0, 1.0]))

        # Not in the checkpoint, as published.
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg):
        """Arguments from ``cfg``."""
        backbone = build_backbone(cfg)
        node = cfg.MODEL.SparseRCNN
        return {
            "backbone": backbone,
            "head": DynamicHead(cfg, backbone.output_shape()),
            "criterion": SetCriterion(cfg),
            "in_features": cfg.MODEL.ROI_HEADS.IN_FEATURES,
            "num_proposals": node.NUM_PROPOSALS,
            "hidden_dim": node.HIDDEN_DIM,
            "use_focal": node.USE_FOCAL,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "score_thresh": node.SCORE_THRESH_TEST,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    @property
    def device(self):
        """Where the model computes."""
        return self.pixel_mean.device

    def forward(self, batched_inputs):
        """Losses when training, else detections.

        Args:
            batched_inputs (list[dict]): Detectron2's standard model input: ``image`` (C, H, W),
                ``instances`` when training, and the output size ``height``, ``width``.

        Returns:
            dict[str, Tensor] of losses when training; else list[dict] with ``instances``:
            pred_boxes in the output size, scores in descending order, pred_classes.
        """
        images = self.preprocess_image(batched_inputs)
        maps = self.backbone(images.tensor)
        features = [maps[name] for name in self.in_features]
        boxes, proposals = self.initial_proposals(images.image_sizes)
        logits, boxes = self.head(features, boxes, proposals)
        if self.training:
            instances = [x["instances"].to(self.device) for x in batched_inputs]
            return self.criterion(logits, boxes, instances)
        results = self.inference(logits[-1], boxes[-1], images.image_sizes)
        return [
            {
                "instances": detector_postprocess(
                    result, x.get("height", size[0]), x.get("width", size[1])
                )
            }
            for result, x, size in zip(results, batched_inputs, images.image_sizes, strict=True)
        ]

    def preprocess_image(self, batched_inputs):
        """Normalise and pad the images of ``batched_inputs`` to one ImageList."""
        images = [
            (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs
        ]
        return ImageList.from_tensors(images, self.backbone.size_divisibility)

    def initial_proposals(self, image_sizes):
        """Learnt boxes (N, P, 4), XYXY in pixels, and learnt features (N, P, D)."""
        boxes = box_convert(self.init_proposal_boxes.weight, "cxcywh", "xyxy")
        whwh = boxes.new_tensor([[w, h, w, h] for h, w in image_sizes])
        features = self.init_proposal_features.weight.expand(len(image_sizes), -1, -1)
        return boxes * whwh[:, None], features

    def inference(self, logits, boxes, image_sizes):
        """The best detections of each image.

        Args:
            logits (Tensor): (N, P, K), or K + 1 with softmax.
            boxes (Tensor): (N, P, 4) XYXY in pixels.
            image_sizes (list[tuple[int, int]]): height and width of each image before padding.

        Returns:
            list[Instances]: at most P each. With focal loss a proposal can appear with several
            classes; with softmax it has its best class. Boxes or scores that are not finite are
            left out.
        """
        scores, classes = self._class_scores(logits.float())
        valid = boxes.isfinite().all(-1, keepdim=True) & scores.isfinite()
        choices = scores.shape[2]
        count = min(self.max_detections, boxes.shape[1])
        scores, index = scores.where(valid, scores.new_tensor(-1.0)).flatten(1).topk(count)
        proposal = index.div(choices, rounding_mode="floor")[..., None]
        boxes = boxes.gather(1, proposal.expand(-1, -1, 4))
        classes = classes.flatten(1).gather(1, index)
        keep = scores >= self.score_thresh
        return [
            Instances(size, pred_boxes=Boxes(b[k]), scores=s[k], pred_classes=c[k])
            for size, b, s, c, k in zip(image_sizes, boxes, scores, classes, keep, strict=True)
        ]

    def _class_scores(self, logits):
        """Scores and classes (N, P, C) that a proposal can be detected with: C = K, or 1."""
        if self.use_focal:
            classes = torch.arange(logits.shape[2], device=logits.device)
            return logits.sigmoid(), classes.expand_as(logits)
        return logits.softmax(-1)[..., :-1].max(-1, keepdim=True)
