"""Sparse R-CNN (arXiv 2011.12450): a fixed set of learnt proposals, no anchors, no NMS."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    detector_postprocess,
)
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn
from torchvision.ops import box_convert

from bccd.modeling.activation_checkpointing import recompute_backbone
from bccd.modeling.ground_truth import check_classes
from bccd.modeling.images import channels_last
from bccd.modeling.places import LearningPlaces
from bccd.projects.sparse_rcnn.config_checks import check_proposals
from bccd.projects.sparse_rcnn.criterion import SetCriterion
from bccd.projects.sparse_rcnn.denoising import displaced_truth
from bccd.projects.sparse_rcnn.dense import DenseHead, build_dense_head
from bccd.projects.sparse_rcnn.head import DynamicHead
from bccd.projects.sparse_rcnn.initial_boxes import INIT_BOXES

# Logits that a place which is no local peak has less; more than any two differ by.
NOT_A_PEAK = 100.0


@META_ARCH_REGISTRY.register()
class SparseRCNN(nn.Module):
    """End-to-end detector; parameter names and results as published.

    Args:
        backbone: with a feature pyramid.
        head: refines proposals.
        criterion: training losses.
        dense_head: auxiliary supervision, or the source of the proposals.
        dense_in_features: pyramid levels for it.
        dense_weight: of its losses.
        dense_proposals: start from its best boxes instead of learnt ones.
        init_boxes: where learnt boxes start, "image" or "grid".
        denoising_copies, denoising_noise: see ``displaced_truth``; 0 copies: none.
        in_features: pyramid levels for the head, from fine to coarse.
        num_proposals: P.
        hidden_dim: D, channels of the proposal features.
        use_focal: class scores by sigmoid; else softmax with "no object" last.
        pixel_mean, pixel_std: per channel, in the order of the input.
        score_thresh: detections below are not returned.
        max_detections: detections per image, at most P; negative: P.
    """

    # See bccd.modeling.capabilities.
    num_classes_key = "MODEL.SparseRCNN.NUM_CLASSES"
    exportable_form = "bccd.projects.sparse_rcnn.exportable:ExportableSparseRCNN"
    reference = "bccd.projects.sparse_rcnn.published"
    fixed_number = True
    benchmark_parts = (
        ("dense_head", ("forward",), "dense head"),
        (r"head\.pooler", ("prepare", "forward"), "head: pooling"),
        (r"head\.head_series\.(\d+)", ("forward", "move", "classify"), r"head: stage \1"),
        ("criterion", ("forward", "of_known_pairs"), "losses"),
        ("dense_head", ("losses",), "losses"),
        ("criterion", ("match",), "matching"),
    )

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        head: DynamicHead,
        criterion: SetCriterion,
        dense_head: DenseHead | None = None,
        dense_in_features: Sequence[str] = (),
        dense_weight: float = 0.0,
        dense_proposals: bool = False,
        init_boxes: str = "image",
        denoising_copies: int = 0,
        denoising_noise: float = 0.0,
        in_features: list[str],
        num_proposals: int,
        hidden_dim: int,
        use_focal: bool,
        pixel_mean: list[float],
        pixel_std: list[float],
        score_thresh: float,
        max_detections: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.criterion = criterion
        self.dense_head, self.dense_in_features = dense_head, dense_in_features
        self.dense_weight, self.dense_proposals = dense_weight, dense_proposals
        self.num_proposals = num_proposals
        self.denoising_copies, self.denoising_noise = denoising_copies, denoising_noise
        if denoising_copies:
            self.denoising_feature = nn.Embedding(1, hidden_dim)
        self.in_features = in_features
        self.use_focal = use_focal
        self.score_thresh = score_thresh
        if max_detections < 0:
            max_detections = num_proposals
        self.max_detections = min(max_detections, num_proposals)

        if dense_proposals:
            self.capacity = 1.0  # learnt proposals are as many as they are
            self.proposal_projection = nn.Sequential(
                nn.Linear(hidden_dim, hidden_dim), nn.LayerNorm(hidden_dim)
            )
        else:
            self._make_learnt_proposals(hidden_dim, init_boxes)

        # Not in the checkpoint, as published.
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def _make_learnt_proposals(self, hidden_dim, init_boxes):
        self.init_proposal_features = nn.Embedding(self.num_proposals, hidden_dim)
        # (cx, cy, w, h) relative to the image.
        self.init_proposal_boxes = nn.Embedding(self.num_proposals, 4)
        with torch.no_grad():
            self.init_proposal_boxes.weight.copy_(INIT_BOXES[init_boxes](self.num_proposals))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments from ``cfg``.

        Raises:
            ValueError: options that do not fit together; names the key.
        """
        backbone = build_backbone(cfg)
        node = cfg.MODEL.SparseRCNN
        check_proposals(node, backbone.output_shape())
        if cfg.MODEL.ACTIVATION_CHECKPOINTING:
            recompute_backbone(backbone)
        return {
            "backbone": backbone,
            "head": DynamicHead(cfg, backbone.output_shape()),
            "criterion": SetCriterion(cfg),
            "dense_head": build_dense_head(cfg, backbone.output_shape()),
            "dense_in_features": node.DENSE_IN_FEATURES,
            "dense_weight": node.DENSE_WEIGHT,
            "dense_proposals": node.PROPOSALS == "dense",
            "init_boxes": node.INIT_BOXES,
            "denoising_copies": node.DENOISING_COPIES,
            "denoising_noise": node.DENOISING_NOISE,
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
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses when training, else detections.

        Args:
            batched_inputs: Detectron2's standard model input: ``image`` (C, H, W),
                ``instances`` when training, and the output size ``height``, ``width``.

        Returns:
            dict[str, Tensor] of losses when training; else list[dict] with ``instances``:
            pred_boxes in the output size, scores in descending order, pred_classes.
        """
        images = self.preprocess_image(batched_inputs)
        logits, boxes, dense, features = self._predict(images)
        if self.training:
            return self._losses(logits, boxes, dense, features, batched_inputs)
        results = self.inference(logits[-1], boxes[-1], images.image_sizes)
        return [
            {
                "instances": detector_postprocess(
                    result, x.get("height", size[0]), x.get("width", size[1])
                )
            }
            for result, x, size in zip(results, batched_inputs, images.image_sizes, strict=True)
        ]

    def _predict(self, images):
        """Logits and boxes of all stages, what the dense head returns or None, feature maps."""
        maps = self.backbone(images.tensor)
        dense = None
        if self.dense_head is not None and (self.training or self.dense_proposals):
            dense = self.dense_head([maps[name] for name in self.dense_in_features])
        if self.dense_proposals:
            boxes, proposals = self.best_of_dense(*dense)
        else:
            boxes, proposals = self.learnt_proposals(images.image_sizes)
        features = [maps[name] for name in self.in_features]
        return *self.head(features, boxes, proposals), dense, features

    @torch.no_grad()
    def learning_places(self, batched_inputs: list[dict]) -> list[LearningPlaces]:
        """See ``bccd.modeling.capabilities``; a place is the middle of a proposal's box.

        Idle are proposals that the last stage matches to nothing.
        """
        logits, boxes, _, _ = self._predict(self.preprocess_image(batched_inputs))
        instances = [x["instances"].to(self.device) for x in batched_inputs]
        stage, image, proposal, truth = self.criterion.assign(logits, boxes, instances)
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        idle = torch.ones_like(centres[-1, ..., 0], dtype=torch.bool)
        last = stage == len(boxes) - 1
        idle[image[last], proposal[last]] = False
        index = stage, image, proposal
        names = [f"stage {number}" for number in range(1, len(boxes) + 1)]
        totals = [boxes.shape[2]] * len(boxes)
        pairs = stage, centres[index], truth, boxes[index]
        return [
            LearningPlaces(
                names,
                totals,
                *(x[image == number].cpu() for x in pairs),
                centres[-1, number, idle[number]].cpu(),
            )
            for number in range(len(instances))
        ]

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise and pad the images of ``batched_inputs`` to one ImageList."""
        images = [
            (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs
        ]
        return channels_last(ImageList.from_tensors(images, self.backbone.size_divisibility))

    def _losses(self, logits, boxes, dense, features, batched_inputs):
        instances = [x["instances"] for x in batched_inputs]
        check_classes(instances, self.criterion.num_classes, self.num_classes_key)
        instances = [x.to(self.device) for x in instances]
        unlabelled = None
        if "unlabelled" in batched_inputs[0]:
            unlabelled = torch.stack([x["unlabelled"] for x in batched_inputs]).to(self.device)
        losses = self.criterion(logits, boxes, instances, unlabelled)
        if dense is not None:
            with torch.autocast(self.device.type, enabled=False):
                auxiliary = self.dense_head.losses(*dense[:2], instances, unlabelled)
            losses.update({k: self.dense_weight * loss for k, loss in auxiliary.items()})
        if self.denoising_copies:
            losses.update(self._denoising_losses(features, instances))
        return losses

    def _denoising_losses(self, features, instances):
        # A call of its own, so that the proposals cannot see where the truth is.
        boxes, matched = displaced_truth(instances, self.denoising_copies, self.denoising_noise)
        proposals = self.denoising_feature.weight.expand(*boxes.shape[:2], -1)
        logits, boxes = self.head(features, boxes, proposals)
        return self.criterion.of_known_pairs(logits, boxes, instances, matched)

    def best_of_dense(
        self, logits: Tensor, boxes: Tensor, features: Tensor, peaks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes (N, P, 4) and features (N, P, D) of the P best places, local peaks before others.

        Arguments: what ``DenseHead.forward`` returns. Without gradient but for the features.
        """
        # Other places keep an order of their own: with -inf, topk would choose among equals.
        scores = logits.detach().amax(-1) - NOT_A_PEAK * ~peaks
        count = min(self._grown(self.num_proposals), scores.shape[1])
        index = scores.topk(count).indices[..., None]
        boxes = boxes.detach().gather(1, index.expand(-1, -1, 4))
        features = features.gather(1, index.expand(-1, -1, features.shape[2]))
        return boxes, self.proposal_projection(features)

    def learnt_proposals(
        self, image_sizes: Tensor | list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Learnt boxes (N, P, 4), XYXY in pixels, and learnt features (N, P, D).

        ``image_sizes``: (N, 2) height and width in pixels, as a tensor or a list of pairs.
        """
        boxes = box_convert(self.init_proposal_boxes.weight, "cxcywh", "xyxy")
        sizes = torch.as_tensor(image_sizes, dtype=boxes.dtype, device=boxes.device)
        whwh = sizes.flip(1).repeat(1, 2)
        features = self.init_proposal_features.weight.expand(sizes.shape[0], -1, -1)
        return boxes * whwh[:, None], features

    def inference(
        self, logits: Tensor, boxes: Tensor, image_sizes: list[tuple[int, int]]
    ) -> list[Instances]:
        """The best detections of each image.

        Args:
            logits: (N, P, K), or K + 1 with softmax.
            boxes: (N, P, 4) XYXY in pixels.
            image_sizes: height and width of each image before padding.

        Returns:
            list[Instances]: at most P each. With focal loss a proposal can appear with several
            classes; with softmax it has its best class. Boxes or scores that are not finite are
            left out.
        """
        scores, boxes, classes = self.best(logits, boxes)
        keep = scores >= self.score_thresh
        return [
            Instances(size, pred_boxes=Boxes(b[k]), scores=s[k], pred_classes=c[k])
            for size, b, s, c, k in zip(image_sizes, boxes, scores, classes, keep, strict=True)
        ]

    def best(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The D best of all pairs of a box and a class, at most P; best score first.

        Arguments: as :meth:`inference`.

        Returns:
            scores (N, D), -1 where a box or score is not finite; boxes (N, D, 4); classes (N, D).
        """
        scores, classes = self._class_scores(logits.float())
        valid = boxes.isfinite().all(-1, keepdim=True) & scores.isfinite()
        choices = scores.shape[2]
        count = min(self._grown(self.max_detections), boxes.shape[1])
        scores, index = scores.where(valid, scores.new_tensor(-1.0)).flatten(1).topk(count)
        proposal = index.div(choices, rounding_mode="floor")[..., None]
        boxes = boxes.gather(1, proposal.expand(-1, -1, 4))
        classes = classes.flatten(1).gather(1, index)
        return scores, boxes, classes

    def _grown(self, number):
        return round(getattr(self, "capacity", 1.0) * number)

    def _class_scores(self, logits):
        """Scores and classes (N, P, C) that a proposal can be detected with: C = K, or 1."""
        if self.use_focal:
            classes = torch.arange(logits.shape[2], device=logits.device)
            return logits.sigmoid(), classes.expand_as(logits)
        return logits.softmax(-1)[..., :-1].max(-1, keepdim=True)
