"""Dense head on the feature pyramid: auxiliary supervision, and proposals that know the image."""

from collections.abc import Mapping

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bccd.modeling.assigners.task_aligned import assign_task_aligned
from bccd.modeling.dense_predictions import decode_batch
from bccd.modeling.losses import (
    giou_loss,
    is_class,
    mean_over_processes,
    varifocal_loss,
)
from bccd.modeling.missing_labels import MissingLabels

# Side of the square anchor at each place, in strides: 32, 64 and 128 pixels on p3, p4 and p5.
ANCHOR_SIDE = 4
# Of task-aligned assignment: places for each ground-truth box, and the exponents of score and IoU.
CANDIDATES, SCORE_POWER, IOU_POWER = 10, 0.5, 6.0


class DenseHead(nn.Module):
    """One class score and one box at every place of every level, supervised one-to-many.

    Assignment and class targets are those of TOOD (arXiv 2108.07755, section 3.2): each
    ground-truth box takes the CANDIDATES places inside it that score and overlap it best.

    Args:
        channels: D, of the feature maps.
        strides: of the L feature maps, in pixels.
        num_classes: K.
        prior_prob: class score at the start of training.
        missing_labels: negatives to leave out of the class loss.
    """

    def __init__(
        self,
        *,
        channels: int,
        strides: list[int],
        num_classes: int,
        prior_prob: float,
        missing_labels: MissingLabels | None = None,
    ) -> None:
        super().__init__()
        self.missing_labels = missing_labels or MissingLabels(num_classes)
        # Not batch normalisation: its statistics would mix those of the levels.
        norm = nn.GroupNorm(8, channels)
        self.tower = Conv2d(
            channels, channels, 3, padding=1, bias=False, norm=norm, activation=F.relu
        )
        self.class_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.box_deltas = nn.Conv2d(channels, 4, 3, padding=1)
        weight_init.c2_msra_fill(self.tower)
        for layer in (self.class_logits, self.box_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(
            self.class_logits.bias,
            -torch.tensor((1 - prior_prob) / prior_prob, device="cpu").log().item(),
        )
        self.anchors = DefaultAnchorGenerator(
            sizes=[[ANCHOR_SIDE * stride] for stride in strides],
            aspect_ratios=[[1.0]],
            strides=strides,
            offset=0.5,
        )
        self.box_transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predict at the A places of all levels.

        Args:
            features: (N, D, H, W) of each level.

        Returns:
            logits (N, A, K), boxes (N, A, 4) XYXY in pixels, features (N, A, D) and (N, A) bool:
            whether a place has the best score of its 3 x 3 neighbourhood.
        """
        towers = [self.tower(x) for x in features]
        logits = [self.class_logits(x) for x in towers]
        with torch.no_grad():
            best = [x.amax(1, keepdim=True) for x in logits]
            peaks = [x == F.max_pool2d(x, 3, stride=1, padding=1) for x in best]
        deltas = _flatten([self.box_deltas(x) for x in towers]).float()
        anchors = Boxes.cat(self.anchors(features)).tensor
        return (
            _flatten(logits).float(),
            decode_batch(self.box_transform.apply_deltas, deltas, anchors),
            _flatten(towers),
            _flatten(peaks)[..., 0],
        )

    def losses(
        self,
        logits: Tensor,
        boxes: Tensor,
        instances: list[Instances],
        unlabelled: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Varifocal and GIoU loss, each place weighted by how well it is aligned.

        Args:
            logits, boxes: of :meth:`forward`.
            instances, unlabelled: see ``SetCriterion``.

        Returns:
            dict[str, Tensor]: ``loss_dense_ce`` and ``loss_dense_giou``.
        """
        gt_boxes = pad_sequence([x.gt_boxes.tensor for x in instances], batch_first=True)
        gt_classes = pad_sequence(
            [x.gt_classes for x in instances], batch_first=True, padding_value=-1
        )
        targets = assign_task_aligned(
            logits.sigmoid(),
            boxes,
            # The centre of the predicted box, not the place: it has to lie inside the ground truth.
            (boxes[..., :2] + boxes[..., 2:]) / 2,
            gt_boxes,
            gt_classes,
            alpha=SCORE_POWER,
            beta=IOU_POWER,
            topk=CANDIDATES,
        )
        matched, quality = targets.matched, targets.quality
        normalizer = mean_over_processes(quality.sum())
        # The row appended for places without an object has the class K.
        classes = F.pad(gt_classes, (0, 1), value=logits.shape[-1]).gather(1, matched)
        positive = is_class(classes, logits.shape[-1])
        loss_ce = varifocal_loss(logits, positive * quality[..., None])
        missing = self.missing_labels(logits, positive, unlabelled, targets.overlap)
        loss_ce = loss_ce.masked_fill(missing, 0.0)
        matched_boxes = F.pad(gt_boxes, (0, 0, 0, 1)).gather(
            1, matched[..., None].expand(-1, -1, 4)
        )
        # Of all places, most times 0: to choose some would wait for the device.
        loss_giou = giou_loss(boxes, matched_boxes) * quality
        return {
            "loss_dense_ce": loss_ce.sum() / normalizer,
            "loss_dense_giou": 2.0 * loss_giou.sum() / normalizer,
        }


def build_dense_head(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> DenseHead | None:
    """The head of ``cfg``, on feature maps of these shapes; None where nothing needs it."""
    node = cfg.MODEL.SparseRCNN
    if node.PROPOSALS != "dense" and node.DENSE_WEIGHT == 0:
        return None
    return DenseHead(
        channels=node.HIDDEN_DIM,
        strides=[shapes[name].stride for name in node.DENSE_IN_FEATURES],
        num_classes=node.NUM_CLASSES,
        prior_prob=node.PRIOR_PROB,
        missing_labels=MissingLabels.build(cfg, node.NUM_CLASSES),
    )


def _flatten(maps):
    """Maps (N, C, H, W) of all levels to (N, A, C)."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
