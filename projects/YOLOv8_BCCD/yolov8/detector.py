"""YOLOv8 as a Detectron2 meta-architecture."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.assigners.task_aligned import assign_task_aligned
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.distances import DistanceDistribution, boxes_of_distances
from bccd.modeling.ground_truth import pad_ground_truth
from bccd.modeling.losses import ciou, iou
from bccd.modeling.missing_labels import MissingLabels
from bccd.projects.yolov8.head import YOLOv8Head
from bccd.projects.yolov8.losses import BCECIoUDFLLoss, CellTargets, FocalGIoUL1Loss


@META_ARCH_REGISTRY.register()
class YOLOv8(SingleStageDetector):
    """A score a class and four distributions of distances at every cell of three feature maps."""

    num_classes_key = "MODEL.YOLOv8.NUM_CLASSES"

    @configurable
    def __init__(
        self,
        *,
        bins: int,
        criterion: nn.Module,
        alpha: float,
        beta: float,
        topk: int,
        small_side: float,
        widened_side: float,
        **shared: Any,
    ) -> None:
        """
        Args:
            bins: distances of a side.
            criterion: a loss of ``losses.py``.
            alpha, beta, topk: of ``assign_task_aligned``.
            small_side, widened_side: sides of ground truth below the first, in pixels, count as the
                second where cells are sought inside.
            shared: arguments of :class:`SingleStageDetector`.
        """
        super().__init__(**shared)
        self.distances = DistanceDistribution(bins)
        self.criterion = criterion
        self.alpha, self.beta, self.topk = alpha, beta, topk
        self.small_side, self.widened_side = small_side, widened_side

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Build every part from ``cfg``.

        Raises:
            ValueError: a key of MODEL.YOLOv8 has a value that cannot work.
        """
        yolo, shared = cfg.MODEL.YOLOv8, shared_arguments(cfg, "YOLOv8")
        shapes = shared["backbone"].output_shape()
        head = YOLOv8Head(
            [shapes[name] for name in yolo.IN_FEATURES],
            yolo.NUM_CLASSES,
            yolo.BINS,
            norm=yolo.NORM,
            box_bias=yolo.BOX_BIAS,
            prior_objects=yolo.PRIOR_OBJECTS,
            recomputed=cfg.MODEL.ACTIVATION_CHECKPOINTING,
        )
        return {
            **shared,
            "head": head,
            "bins": yolo.BINS,
            "criterion": build_criterion(cfg),
            "alpha": yolo.ALPHA,
            "beta": yolo.BETA,
            "topk": yolo.TOPK,
            "small_side": yolo.SMALL_SIDE,
            "widened_side": yolo.WIDENED_SIDE,
        }

    @property
    def box_outputs(self) -> int:
        """Bins of the four sides."""
        return 4 * self.distances.bins

    def decode(self, boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
        """Boxes (M, 4) of bins (M, 4 * bins), XYXY in pixels; ``anchors`` are the cells (M, 4)."""
        points = (anchors[:, :2] + anchors[:, 2:]) / 2
        return boxes_of_distances(points, self.distances(boxes) * stride)

    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> CellTargets:
        """Task-aligned assignment, on the model's device."""
        gt_boxes, gt_classes = pad_ground_truth(truths, self.device)
        boxes = self.decode_all(predictions)
        gt_boxes = gt_boxes.to(boxes.dtype)
        points = Boxes.cat(predictions.anchors).get_centers().to(boxes.dtype)
        targets = assign_task_aligned(
            self.scores(torch.cat(predictions.logits, dim=1)),
            boxes,
            points,
            gt_boxes,
            gt_classes,
            alpha=self.alpha,
            beta=self.beta,
            topk=self.topk,
            overlap=lambda a, b: ciou(a, b).clamp(min=0),
            rule=self.criterion.rule,
            regions=widen(gt_boxes, self.small_side, self.widened_side),
        )
        # The row appended for background is what an unmatched cell points to.
        classes = F.pad(gt_classes, (0, 1), value=self.num_classes).gather(1, targets.matched)
        index = (classes < self.num_classes).nonzero(as_tuple=True)
        image, cell = index
        levels = zip(predictions.anchors, predictions.strides, strict=True)
        strides = torch.cat([boxes.new_full((len(cells), 1), stride) for cells, stride in levels])
        overlap = None
        if self.criterion.missing_labels.uses_overlap:
            overlap = F.pad(iou(boxes[:, :, None], gt_boxes[:, None]), (0, 1)).amax(dim=-1)
        return CellTargets(
            classes,
            targets.quality,
            index,
            points[cell] / strides[cell],
            gt_boxes[image, targets.matched[index]] / strides[cell],
            strides[cell],
            overlap,
        )

    def matched(self, assigned: CellTargets) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`SingleStageDetector`."""
        return *assigned.index, assigned.boxes * assigned.strides

    def losses(
        self, predictions: DensePredictions, assigned: CellTargets, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch; see ``losses.py`` for their names."""
        logits, bins = (torch.cat(x, dim=1) for x in (predictions.logits, predictions.boxes))
        return self.criterion(logits, bins, self.distances, assigned, unlabelled)


def widen(boxes: Tensor, below: float, side: float) -> Tensor:
    """Boxes (..., 4) XYXY whose sides below ``below`` are ``side`` long, around the same centre."""
    sizes = boxes[..., 2:] - boxes[..., :2]
    more = torch.where(sizes < below, (side - sizes) / 2, 0.0)
    return boxes + torch.cat([-more, more], dim=-1)


def build_criterion(cfg: CfgNode) -> nn.Module:
    """The loss that ``MODEL.YOLOv8.LOSS`` names.

    Raises:
        ValueError: an unknown name, or a key that this loss does not read is set.
    """
    yolo = cfg.MODEL.YOLOv8
    missing_labels = MissingLabels.build(cfg, yolo.NUM_CLASSES)
    if yolo.LOSS == "bce_ciou_dfl":
        if yolo.QUALITY_SCORES:
            raise ValueError(
                "MODEL.YOLOv8.QUALITY_SCORES is True, which has no effect with MODEL.YOLOv8.LOSS "
                "bce_ciou_dfl, whose scores are qualities anyway: set it to False, or "
                "MODEL.YOLOv8.LOSS focal_giou_l1"
            )
        return BCECIoUDFLLoss(
            class_weight=yolo.CLASS_WEIGHT,
            box_weight=yolo.BOX_WEIGHT,
            dfl_weight=yolo.DFL_WEIGHT,
            times_batch=yolo.TIMES_BATCH,
            missing_labels=missing_labels,
        )
    if yolo.LOSS == "focal_giou_l1":
        return FocalGIoUL1Loss(
            alpha=yolo.FOCAL_ALPHA,
            gamma=yolo.FOCAL_GAMMA,
            class_weight=yolo.FOCAL_WEIGHT,
            giou_weight=yolo.GIOU_WEIGHT,
            l1_weight=yolo.L1_WEIGHT,
            quality_scores=yolo.QUALITY_SCORES,
            missing_labels=missing_labels,
        )
    raise ValueError(
        f'MODEL.YOLOv8.LOSS is "{yolo.LOSS}", must be "bce_ciou_dfl" or "focal_giou_l1"'
    )
