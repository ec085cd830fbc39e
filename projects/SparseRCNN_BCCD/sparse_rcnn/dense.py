"""Dense head on the feature pyramid: auxiliary supervision, and proposals that know the image."""

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from bccd.modeling.losses import (
    giou_loss,
    iou,
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
        channels (int): D, of the feature maps.
        strides (list[int]): of the L feature maps, in pixels.
        num_classes (int): K.
        prior_prob (float): class score at the start of training.
        missing_labels (MissingLabels or None): negatives to leave out of the class loss.
    """

    def __init__(self, *, channels, strides, num_classes, prior_prob, missing_labels=None):
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
            self.class_logits.bias, -torch.log(torch.tensor((1 - prior_prob) / prior_prob)).item()
        )
        self.anchors = DefaultAnchorGenerator(
            sizes=[[ANCHOR_SIDE * stride] for stride in strides],
            aspect_ratios=[[1.0]],
            strides=strides,
            offset=0.5,
        )
        self.box_transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))

    def forward(self, features):
        """Predict at the A places of all levels.

        Args:
            features (list[Tensor]): (N, D, H, W) of each level.

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
        anchors = Boxes.cat(self.anchors(features)).tensor.expand_as(deltas)
        boxes = self.box_transform.apply_deltas(deltas.flatten(0, 1), anchors.flatten(0, 1))
        return (
            _flatten(logits).float(),
            boxes.view_as(deltas),
            _flatten(towers),
            _flatten(peaks)[..., 0],
        )

    def losses(self, logits, boxes, instances, unlabelled=None):
        """Varifocal and GIoU loss, each place weighted by how well it is aligned.

        Args:
            logits, boxes: of :meth:`forward`.
            instances (list[Instances]), unlabelled (Tensor or None): see ``SetCriterion``.

        Returns:
            dict[str, Tensor]: ``loss_dense_ce`` and ``loss_dense_giou``.
        """
        gt_boxes = pad_sequence([x.gt_boxes.tensor for x in instances], batch_first=True)
        gt_classes = pad_sequence(
            [x.gt_classes for x in instances], batch_first=True, padding_value=-1
        )
        matched, quality, overlap = assign_task_aligned(
            logits.sigmoid(), boxes, gt_boxes, gt_classes
        )
        normalizer = mean_over_processes(quality.sum())
        # The row appended for places without an object has the class K.
        classes = F.pad(gt_classes, (0, 1), value=logits.shape[-1]).gather(1, matched)
        positive = is_class(classes, logits.shape[-1])
        loss_ce = varifocal_loss(logits, positive * quality[..., None])
        missing = self.missing_labels(logits, positive, unlabelled, overlap)
        loss_ce = loss_ce.masked_fill(missing, 0.0)
        targets = F.pad(gt_boxes, (0, 0, 0, 1)).gather(1, matched[..., None].expand(-1, -1, 4))
        # Of all places, most times 0: to choose some would wait for the device.
        loss_giou = giou_loss(boxes, targets) * quality
        return {
            "loss_dense_ce": loss_ce.sum() / normalizer,
            "loss_dense_giou": 2.0 * loss_giou.sum() / normalizer,
        }


def _flatten(maps):
    """Maps (N, C, H, W) of all levels to (N, A, C)."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)


@torch.no_grad()
def assign_task_aligned(scores, boxes, gt_boxes, gt_classes):
    """Places for each ground-truth box (TOOD, arXiv 2108.07755, equations 2 and 3).

    A place is a candidate where the centre of its predicted box lies inside the ground truth.

    Args:
        scores (Tensor): (N, A, K), in [0, 1].
        boxes (Tensor): (N, A, 4) XYXY.
        gt_boxes (Tensor): (N, M, 4) XYXY, padded.
        gt_classes (Tensor): (N, M), -1 for padding.

    Returns:
        (N, A) int64, the index of the ground truth of each place, M for none; its quality (N, A),
        which for each ground-truth box is at most its best IoU, 0 for none; and the largest IoU
        (N, A) of each place with any ground truth.
    """
    count = gt_boxes.shape[1]
    if count == 0:
        nothing = scores.new_zeros(scores.shape[:2])
        return nothing.long(), nothing, nothing
    overlap = iou(gt_boxes[:, :, None], boxes[:, None])  # (N, M, A)
    index = gt_classes.clamp(min=0)[..., None].expand_as(overlap)
    score = scores.transpose(1, 2).gather(1, index)
    centres = (boxes[..., :2] + boxes[..., 2:])[:, None] / 2
    inside = (centres > gt_boxes[:, :, None, :2]) & (centres < gt_boxes[:, :, None, 2:])
    allowed = inside.all(-1) & (gt_classes >= 0)[..., None]
    alignment = (score**SCORE_POWER * overlap**IOU_POWER) * allowed
    top = alignment.topk(min(CANDIDATES, alignment.shape[2]), dim=2)
    chosen = torch.zeros_like(alignment).scatter(2, top.indices, top.values)
    # A place that several boxes chose belongs to the one that it overlaps most.
    best, matched = (overlap * (chosen > 0)).max(dim=1)
    chosen = chosen * is_class(matched, count).transpose(1, 2)
    quality = chosen / chosen.amax(2, keepdim=True).clamp(min=1e-12)
    quality = (quality * (overlap * (chosen > 0)).amax(2, keepdim=True)).amax(1)
    return torch.where(best > 0, matched, count), quality, overlap.amax(dim=1)
