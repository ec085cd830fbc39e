"""YOLOv3 as a Detectron2 meta-architecture (arXiv 1804.02767)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from bccd.modeling.anchors import sizes_of_anchors
from bccd.modeling.assigners.best_anchor import find_best_anchor
from bccd.modeling.assigners.neighbour_cells import find_neighbour_cells
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.objectness.pairs import CellTargets, join_images, join_maps, largest_overlaps
from bccd.modeling.precision import full_precision
from bccd.projects.yolov3.criterion import build_criterion, check_choices
from bccd.projects.yolov3.darknet import conv_of
from bccd.projects.yolov3.head import YOLOv3Head
from bccd.projects.yolov3.initialisation import initialise, start_predictor
from bccd.projects.yolov3.losses import DarknetLoss


@dataclass
class YOLOv3Targets:
    """Targets of a batch.

    Attributes:
        levels: of each feature map.
        totals: anchors of each feature map.
        overlaps: of each feature map (N, A_l), the largest IoU of each prediction with ground
            truth; empty where no loss reads it.
        areas: of the images, in pixels.
    """

    levels: list[CellTargets]
    totals: list[int]
    overlaps: Sequence[Tensor]
    areas: list[float]


@META_ARCH_REGISTRY.register()
class YOLOv3(SingleStageDetector):
    """Anchor boxes with objectness on several maps, in Darknet's form and in the later one."""

    num_classes_key = "MODEL.YOLOv3.NUM_CLASSES"

    @configurable
    def __init__(
        self,
        *,
        criterion: nn.Module,
        decode_boxes: Callable[[Tensor, Tensor, float], Tensor],
        max_ratio: float | None,
        **shared: Any,
    ) -> None:
        """
        Args:
            criterion: see ``criterion.py``.
            decode_boxes: box outputs (M, 4), anchors (M, 4) and a stride to boxes (M, 4).
            max_ratio: of the sides of a box and of its anchors, in three cells; None: each box has
                one anchor, in one cell.
            shared: arguments of :class:`SingleStageDetector`.
        """
        super().__init__(**shared)
        self.criterion = criterion
        self.decode_boxes = decode_boxes
        self.max_ratio = max_ratio
        self.anchor_sizes = sizes_of_anchors(self.anchor_generator)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.YOLOv3 has a value that cannot work.
        """
        node = cfg.MODEL.YOLOv3
        check_choices(node)
        shared = shared_arguments(cfg, "YOLOv3")
        criterion = build_criterion(cfg)
        return {
            **shared,
            "head": build_head(cfg, shared),
            "criterion": criterion,
            "decode_boxes": criterion.decode,
            "max_ratio": node.MAX_RATIO if node.ASSIGNMENT == "neighbour_cells" else None,
        }

    @property
    def class_outputs(self) -> int:
        """Objectness and classes."""
        return 1 + self.num_classes

    def scores(self, logits: Tensor) -> Tensor:
        """Objectness times class probability (..., K), also of one class."""
        probabilities = full_precision(logits).sigmoid()
        return probabilities[..., :1] * probabilities[..., 1:]

    def decode(self, boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
        """As ``MODEL.YOLOv3.BOXES`` says."""
        return self.decode_boxes(boxes, anchors, stride)

    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> YOLOv3Targets:
        """Choose anchors for the ground truth of every image, by their shape alone, on the host."""
        matches = [
            self._match(predictions, image, truth.to("cpu")) for image, truth in enumerate(truths)
        ]
        totals = [len(anchors) for anchors in predictions.anchors]
        overlaps = ()
        if isinstance(self.criterion, DarknetLoss) or self.criterion.missing_labels.uses_overlap:
            overlaps = largest_overlaps(predictions, self.decode_all(predictions), truths)
        areas = [float(height * width) for height, width in (x.image_size for x in truths)]
        return YOLOv3Targets(join_images(matches, self.device), totals, overlaps, areas)

    def _match(self, predictions, image, truth):
        """(images, anchors, boxes, classes) of the pairs of one image, for each feature map."""
        # As exact as the predictions: which cell a centre is in may hang on the last digit.
        dtype = torch.promote_types(predictions.boxes[0].dtype, torch.float32)
        gt_boxes, gt_classes = truth.gt_boxes.tensor.to(dtype), truth.gt_classes
        maps = predictions.sizes, predictions.strides
        if self.max_ratio is None:
            pairs = find_best_anchor(gt_boxes, self.anchor_sizes, *maps)
        else:
            pairs = [
                find_neighbour_cells(gt_boxes, *level, max_ratio=self.max_ratio)
                for level in zip(self.anchor_sizes, *maps, strict=True)
            ]
        return [
            (torch.full_like(anchors, image), anchors, gt_boxes[index], gt_classes[index])
            for anchors, index in pairs
        ]

    def matched(self, assigned: YOLOv3Targets) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`SingleStageDetector`."""
        return join_maps(assigned.levels, assigned.totals)

    def losses(
        self, predictions: DensePredictions, assigned: YOLOv3Targets, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch; the criterion names them."""
        arguments = predictions, assigned.levels, unlabelled, assigned.overlaps
        if isinstance(self.criterion, DarknetLoss):
            return self.criterion(*arguments, assigned.areas)
        return self.criterion(*arguments)


def build_head(cfg: CfgNode, shared: dict) -> YOLOv3Head:
    """The head of ``MODEL.YOLOv3``, for what ``shared_arguments`` gave."""
    node, shapes = cfg.MODEL.YOLOv3, shared["backbone"].output_shape()
    num_anchors = shared["anchor_generator"].num_anchors
    head = YOLOv3Head(
        [shapes[name] for name in node.IN_FEATURES],
        num_anchors,
        node.NUM_CLASSES,
        channels=node.CHANNELS,
        num_convs=node.NUM_CONVS,
        pooling_pyramid=node.POOLING_PYRAMID,
        conv=conv_of(cfg),
        recomputed=cfg.MODEL.ACTIVATION_CHECKPOINTING,
    )
    initialise(head, node.INIT)
    if node.INIT == "later":
        for name, predictor, anchors in zip(
            node.IN_FEATURES, head.predictors, num_anchors, strict=True
        ):
            start_predictor(predictor, anchors, shapes[name].stride)
    return head
