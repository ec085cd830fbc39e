"""YOLOv7 as a Detectron2 meta-architecture (arXiv 2207.02696)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from bccd.modeling.anchors import sizes_of_anchors
from bccd.modeling.assigners.dynamic_k import assign_dynamic_k, sim_ota_costs
from bccd.modeling.assigners.neighbour_cells import find_neighbour_cells
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.objectness.balanced import BalancedLoss
from bccd.modeling.objectness.focal import FocalGIoUL1Loss
from bccd.modeling.objectness.pairs import (
    CellTargets,
    join_images,
    join_maps,
    joint_scores,
    largest_overlaps,
)
from bccd.modeling.precision import full_precision
from bccd.modeling.sigmoid_boxes import decode_sigmoid_boxes, sigmoid_box_targets
from bccd.projects.yolov7.head import YOLOv7Head


@dataclass
class YOLOv7Targets:
    """Targets of a batch.

    Attributes:
        levels: of each feature map.
        totals: anchors of each feature map.
        overlaps: of each feature map (N, A_l), the largest IoU of each prediction with ground
            truth; empty where no loss reads it.
    """

    levels: list[CellTargets]
    totals: list[int]
    overlaps: Sequence[Tensor]


@META_ARCH_REGISTRY.register()
class YOLOv7(SingleStageDetector):
    """Anchor boxes with objectness, assigned by what the detector predicts so far."""

    num_classes_key = "MODEL.YOLOv7.NUM_CLASSES"

    @configurable
    def __init__(
        self,
        *,
        criterion: nn.Module,
        max_ratio: float,
        ota: bool,
        ota_topk: int,
        ota_iou_weight: float,
        **shared: Any,
    ) -> None:
        """
        Args:
            criterion: a loss of ``bccd.modeling.objectness``.
            max_ratio: of the sides of a box and of its anchor.
            ota: choose among the anchors that fit; else all of them are to predict the box.
            ota_topk, ota_iou_weight: see ``bccd.modeling.assigners.dynamic_k``.
            shared: arguments of :class:`SingleStageDetector`.
        """
        super().__init__(**shared)
        self.criterion = criterion
        self.max_ratio = max_ratio
        self.anchor_sizes = sizes_of_anchors(self.anchor_generator)
        self.ota, self.ota_topk, self.ota_iou_weight = ota, ota_topk, ota_iou_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.YOLOv7 has a value that cannot work.
        """
        node, shared = cfg.MODEL.YOLOv7, shared_arguments(cfg, "YOLOv7")
        if node.LOSS == "balanced" and len(node.BALANCE) != len(node.IN_FEATURES):
            raise ValueError(
                f"MODEL.YOLOv7.BALANCE has {len(node.BALANCE)} numbers, must have one for each of "
                f"IN_FEATURES, {len(node.IN_FEATURES)}"
            )
        shapes = shared["backbone"].output_shape()
        head = YOLOv7Head(
            [shapes[name] for name in node.IN_FEATURES],
            shared["anchor_generator"].num_anchors,
            node.NUM_CLASSES,
            rep_conv=node.REP_CONV,
            norm=node.NORM,
            activation=node.ACTIVATION,
            recomputed=cfg.MODEL.ACTIVATION_CHECKPOINTING,
        )
        return {
            **shared,
            "head": head,
            "criterion": build_criterion(cfg),
            "max_ratio": node.MAX_RATIO,
            "ota": node.OTA.ENABLED,
            "ota_topk": node.OTA.TOPK,
            "ota_iou_weight": node.OTA.IOU_WEIGHT,
        }

    @property
    def class_outputs(self) -> int:
        """Objectness and classes."""
        return 1 + self.num_classes

    def scores(self, logits: Tensor) -> Tensor:
        """Objectness times class probability, see :func:`joint_scores`."""
        return joint_scores(logits)

    def decode(self, boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
        """See :func:`decode_sigmoid_boxes`."""
        return decode_sigmoid_boxes(boxes, anchors, stride)

    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> YOLOv7Targets:
        """Choose anchors for the ground truth of every image (lead head guided, section 4.2.2)."""
        # As exact as the predictions: which cell a centre is in may hang on the last digit.
        dtype = torch.promote_types(predictions.boxes[0].dtype, torch.float32)
        boxes = [truth.gt_boxes.tensor.to("cpu", dtype) for truth in truths]
        classes = [truth.gt_classes.to("cpu") for truth in truths]
        pairs = [self._candidates(predictions, of_image) for of_image in boxes]
        if self.ota:
            pairs = self._choose(predictions, pairs, boxes, classes)
        matches = [
            [
                (
                    torch.full_like(anchors, image),
                    anchors,
                    boxes[image][index],
                    classes[image][index],
                )
                for anchors, index in of_image
            ]
            for image, of_image in enumerate(pairs)
        ]
        totals = [len(anchors) for anchors in predictions.anchors]
        overlaps = ()
        if self.criterion.missing_labels.uses_overlap:
            overlaps = largest_overlaps(predictions, self.decode_all(predictions), truths)
        return YOLOv7Targets(join_images(matches, self.device), totals, overlaps)

    def _candidates(self, predictions, gt_boxes):
        """(anchors, truths) of each feature map that fit in shape and place, on the host."""
        maps = self.anchor_sizes, predictions.sizes, predictions.strides
        return [
            find_neighbour_cells(gt_boxes, *level, max_ratio=self.max_ratio)
            for level in zip(*maps, strict=True)
        ]

    def _choose(self, predictions, pairs, boxes, classes):
        """Of the ``pairs`` of each image and map those that the ground truths take, on the host."""
        matched = [
            self._match(predictions, image, *of_image)
            for image, of_image in enumerate(zip(pairs, boxes, classes, strict=True))
        ]
        # One copy from the device for all images.
        matched = torch.cat(matched).cpu().split([len(x) for x in matched])
        chosen = []
        for of_image, truths, gt_boxes in zip(pairs, matched, boxes, strict=True):
            of_maps = truths.split([len(anchors) for anchors, _ in of_image])
            taken = [of_map < len(gt_boxes) for of_map in of_maps]
            chosen.append(
                [
                    (anchors[kept], of_map[kept])
                    for (anchors, _), of_map, kept in zip(of_image, of_maps, taken, strict=True)
                ]
            )
        return chosen

    def _match(self, predictions, image, pairs, gt_boxes, gt_classes):
        """Index of the ground truth that takes each candidate of all maps; see the assigner."""
        logits, boxes = [], []
        for level, (anchors, _) in enumerate(pairs):
            anchors = anchors.to(self.device)
            logits.append(predictions.logits[level][image, anchors])
            outputs = full_precision(predictions.boxes[level][image, anchors])
            corners = predictions.anchors[level].tensor[anchors]
            boxes.append(self.decode(outputs, corners, predictions.strides[level]))
        costs, overlaps = sim_ota_costs(
            torch.cat(logits),
            torch.cat(boxes),
            gt_boxes.to(self.device),
            gt_classes.to(self.device),
            iou_weight=self.ota_iou_weight,
        )
        return assign_dynamic_k(costs, overlaps, topk=self.ota_topk)

    def matched(self, assigned: YOLOv7Targets) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`SingleStageDetector`."""
        return join_maps(assigned.levels, assigned.totals)

    def losses(
        self, predictions: DensePredictions, assigned: YOLOv7Targets, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch; see ``bccd.modeling.objectness`` for their names."""
        return self.criterion(predictions, assigned.levels, unlabelled, assigned.overlaps)


def build_criterion(cfg: CfgNode) -> nn.Module:
    """The loss that ``MODEL.YOLOv7.LOSS`` names.

    Raises:
        ValueError: an unknown name.
    """
    node = cfg.MODEL.YOLOv7
    missing_labels = MissingLabels.build(cfg, node.NUM_CLASSES)
    if node.LOSS == "balanced":
        return BalancedLoss(
            decode_sigmoid_boxes,
            box_gain=node.BOX_GAIN,
            objectness_gain=node.OBJECTNESS_GAIN,
            class_gain=node.CLASS_GAIN,
            balance=node.BALANCE,
            scale_gains=node.SCALE_GAINS,
            missing_labels=missing_labels,
        )
    if node.LOSS == "focal_giou_l1":
        return FocalGIoUL1Loss(
            decode_sigmoid_boxes,
            sigmoid_box_targets,
            _doubled_sigmoid,
            alpha=node.ALPHA,
            gamma=node.GAMMA,
            class_weight=node.CLASS_WEIGHT,
            giou_weight=node.GIOU_WEIGHT,
            l1_weight=node.L1_WEIGHT,
            missing_labels=missing_labels,
        )
    raise ValueError(f'MODEL.YOLOv7.LOSS is "{node.LOSS}", must be "balanced" or "focal_giou_l1"')


def _doubled_sigmoid(outputs):
    return 2 * outputs.sigmoid()
