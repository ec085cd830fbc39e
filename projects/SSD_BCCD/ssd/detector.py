"""SSD as a Detectron2 meta-architecture (arXiv 1512.02325)."""

import torch
from detectron2.config import configurable
from detectron2.layers import batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, build_anchor_generator, build_backbone
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.structures import Boxes, pairwise_iou
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recompute_backbone
from bccd.modeling.ground_truth import check_classes
from bccd.modeling.images import channels_last
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.sigmoid_options import refuse_sigmoid_options
from bccd.projects.ssd.default_boxes import DefaultBoxMatcher
from bccd.projects.ssd.head import SSDHead
from bccd.projects.ssd.losses import FocalGIoUL1Loss, MultiBoxLoss


@META_ARCH_REGISTRY.register()
class SSD(DenseDetector):
    """Single-shot detector on the feature maps of any Detectron2 backbone.

    Detectron2's model contract: a list of dicts in; a dict of losses in training, otherwise a list
    of ``{"instances": Instances}`` with ``pred_boxes scores pred_classes``, best score first.
    """

    num_classes_key = "MODEL.SSD.NUM_CLASSES"

    @configurable
    def __init__(
        self,
        *,
        backbone,
        head,
        head_in_features,
        anchor_generator,
        anchor_matcher,
        box2box_transform,
        criterion,
        num_classes,
        score_threshold,
        topk_candidates,
        nms_threshold,
        max_detections,
        pixel_mean,
        pixel_std,
    ):
        """
        Args:
            backbone: a Detectron2 Backbone.
            head: :class:`SSDHead` or a module with its interface.
            head_in_features: names of the backbone's feature maps, from the finest on.
            anchor_generator: a Detectron2 anchor generator on these maps.
            anchor_matcher: ``(M, A)`` IoU to matches and labels, :class:`DefaultBoxMatcher`.
            box2box_transform: Box2BoxTransform that the deltas are encoded with.
            criterion: a loss of ``losses.py``, which also turns logits into scores.
            num_classes: K; the label K is background.
            score_threshold: detections below it are dropped.
            topk_candidates: boxes of a feature map that go into NMS.
            nms_threshold: IoU within a class from which the lower score is dropped.
            max_detections: detections kept in an image.
            pixel_mean, pixel_std: of the three channels, in INPUT.FORMAT order.
        """
        super().__init__(
            backbone, head, head_in_features, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.anchor_generator = anchor_generator
        self.anchor_matcher = anchor_matcher
        self.box2box_transform = box2box_transform
        self.criterion = criterion
        self.num_classes = num_classes
        # DenseDetector's decoding reads these two names.
        self.test_score_thresh = score_threshold
        self.test_topk_candidates = topk_candidates
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections

    @classmethod
    def from_config(cls, cfg):
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.SSD has a value that cannot work.
        """
        ssd = cfg.MODEL.SSD
        if ssd.NUM_CLASSES < 1:
            raise ValueError(f"MODEL.SSD.NUM_CLASSES is {ssd.NUM_CLASSES}, must be at least 1")
        backbone = build_backbone(cfg)
        if cfg.MODEL.ACTIVATION_CHECKPOINTING:
            recompute_backbone(backbone)
        shapes = backbone.output_shape()
        if unknown := [name for name in ssd.IN_FEATURES if name not in shapes]:
            raise ValueError(
                f"MODEL.SSD.IN_FEATURES has {unknown}; {cfg.MODEL.BACKBONE.NAME} gives "
                f"{list(shapes)}"
            )
        in_shapes = [shapes[name] for name in ssd.IN_FEATURES]
        anchor_generator = build_anchor_generator(cfg, in_shapes)
        box2box_transform = Box2BoxTransform(weights=ssd.BBOX_REG_WEIGHTS)
        criterion = build_criterion(cfg, box2box_transform)
        return {
            "backbone": backbone,
            "head": SSDHead(
                in_shapes,
                anchor_generator.num_anchors,
                criterion.num_scores(ssd.NUM_CLASSES),
                num_convs=ssd.NUM_CONVS,
                norm=ssd.NORM,
                prior=criterion.prior,
                recomputed=cfg.MODEL.ACTIVATION_CHECKPOINTING,
            ),
            "head_in_features": ssd.IN_FEATURES,
            "anchor_generator": anchor_generator,
            "anchor_matcher": DefaultBoxMatcher(ssd.IOU_THRESHOLD),
            "box2box_transform": box2box_transform,
            "criterion": criterion,
            "num_classes": ssd.NUM_CLASSES,
            "score_threshold": ssd.SCORE_THRESH_TEST,
            "topk_candidates": ssd.TOPK_CANDIDATES_TEST,
            "nms_threshold": ssd.NMS_THRESH_TEST,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def preprocess_image(self, batched_inputs):
        """Normalise and pad the images of ``batched_inputs`` to one ImageList."""
        return channels_last(super().preprocess_image(batched_inputs))

    def forward(self, batched_inputs):
        """As DenseDetector; when training, ``unlabelled`` of the inputs reaches the losses.

        Args:
            batched_inputs: list of N dicts, Detectron2's standard model input; ``unlabelled``
                ``(K,)`` bool, where given, marks classes that are not annotated in an image.
        """
        if not self.training:
            return super().forward(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        features = [features[name] for name in self.head_in_features]
        instances = [x["instances"] for x in batched_inputs]
        unlabelled = None
        if "unlabelled" in batched_inputs[0]:
            unlabelled = torch.stack([x["unlabelled"] for x in batched_inputs]).to(self.device)
        return self.forward_training(images, features, self.head(features), instances, unlabelled)

    def forward_training(self, images, features, predictions, gt_instances, unlabelled=None):
        """Losses of a batch; see ``losses.py`` for their names."""
        # Matched on the host, where ground truth comes from: it takes a decision for every box.
        anchors = Boxes(Boxes.cat(self.anchor_generator(features)).tensor.cpu())
        labels, targets, overlap = self.label_anchors(anchors, gt_instances)
        logits, deltas = self._transpose_dense_predictions(
            predictions, [self.criterion.num_scores(self.num_classes), 4]
        )
        # In fp32 also under autocast.
        with torch.autocast(self.device.type, enabled=False):
            return self.criterion(
                torch.cat(logits, dim=1),
                torch.cat(deltas, dim=1),
                labels,
                targets,
                anchors.tensor,
                unlabelled,
                overlap,
            )

    @torch.no_grad()
    def label_anchors(self, anchors, gt_instances):
        """Match ground truth to default boxes (section 2.2, "Matching strategy").

        Args:
            anchors: Boxes, ``A`` of them, on the host.
            gt_instances: list of N Instances with ``gt_boxes`` and ``gt_classes``; an image may
                have none. Boxes without area are ignored.

        Returns:
            labels ``(N, A)`` int64, K for background; matched boxes ``(N, A, 4)``; and the largest
            IoU ``(N, A)`` with any ground truth.

        Raises:
            ValueError: a class that is not below MODEL.SSD.NUM_CLASSES.
        """
        gt_instances = [truth.to("cpu") for truth in gt_instances]
        check_classes(gt_instances, self.num_classes, "MODEL.SSD.NUM_CLASSES")
        labels, targets, overlaps = [], [], []
        for truth in gt_instances:
            truth = truth[truth.gt_boxes.nonempty()]
            overlap = pairwise_iou(truth.gt_boxes, anchors)
            matches, matched = self.anchor_matcher(overlap)
            # The row appended for background is what an unmatched box points to.
            classes = torch.cat([truth.gt_classes, matches.new_tensor([self.num_classes])])
            boxes = torch.cat([truth.gt_boxes.tensor, anchors.tensor.new_zeros(1, 4)])
            matches = torch.where(matched == 1, matches, len(truth))
            labels.append(classes[matches])
            targets.append(boxes[matches])
            overlaps.append(F.pad(overlap, (0, 0, 0, 1)).amax(dim=0))
        return torch.stack(labels), torch.stack(targets), torch.stack(overlaps)

    def forward_inference(self, images, features, predictions):
        """Detections of a batch, a list of N Instances in pixels of the network's input."""
        logits, deltas = self._transpose_dense_predictions(
            predictions, [self.criterion.num_scores(self.num_classes), 4]
        )
        scores = [self.criterion.scores(level) for level in logits]
        anchors = self.anchor_generator(features)
        return [
            self._detect(anchors, [s[i] for s in scores], [d[i] for d in deltas], image_size)
            for i, image_size in enumerate(images.image_sizes)
        ]

    def _detect(self, anchors, scores, deltas, image_size):
        """Threshold, decode and NMS; a list entry a feature map, ``(A_l, K)`` and ``(A_l, 4)``."""
        found = self._decode_multi_level_predictions(
            anchors,
            scores,
            deltas,
            self.test_score_thresh,
            self.test_topk_candidates,
            image_size,
        )
        # One box that is not finite would spoil the NMS of all.
        found = found[found.pred_boxes.tensor.isfinite().all(dim=1)]
        found.pred_boxes.clip(image_size)
        keep = batched_nms(
            found.pred_boxes.tensor, found.scores, found.pred_classes, self.nms_threshold
        )
        return found[keep[: self.max_detections]]


def build_criterion(cfg, box2box_transform):
    """The loss that ``MODEL.SSD.LOSS`` names.

    Raises:
        ValueError: an unknown name, or a key that this loss does not read is set.
    """
    ssd = cfg.MODEL.SSD
    if ssd.LOSS == "focal_giou_l1":
        return FocalGIoUL1Loss(
            box2box_transform,
            alpha=ssd.ALPHA,
            gamma=ssd.GAMMA,
            class_weight=ssd.CLASS_WEIGHT,
            giou_weight=ssd.GIOU_WEIGHT,
            l1_weight=ssd.L1_WEIGHT,
            prior_prob=ssd.PRIOR_PROB,
            quality_scores=ssd.QUALITY_SCORES,
            missing_labels=MissingLabels.build(cfg, ssd.NUM_CLASSES),
        )
    if ssd.LOSS == "multibox":
        refuse_sigmoid_options(cfg, "SSD", "MODEL.SSD.LOSS focal_giou_l1")
        return MultiBoxLoss(
            box2box_transform,
            negative_ratio=ssd.NEGATIVE_RATIO,
            class_weight=ssd.CLASS_WEIGHT,
            smooth_l1_weight=ssd.SMOOTH_L1_WEIGHT,
        )
    raise ValueError(f'MODEL.SSD.LOSS is "{ssd.LOSS}", must be "focal_giou_l1" or "multibox"')
