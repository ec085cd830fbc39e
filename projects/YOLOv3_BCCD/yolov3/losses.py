"""Darknet's losses of YOLOv3 (section 2.1, and the program's gradients)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.objectness.pairs import CellTargets, ObjectnessLoss, last_of_each
from bccd.modeling.precision import full_precision
from bccd.projects.yolov3.boxes import decode_exp_boxes, exp_box_targets


class DarknetLoss(ObjectnessLoss):
    """Cross-entropies of centre, objectness and classes, squared errors of the logarithms of sides.

    Sums over the anchors, divided by the number of images, as Darknet's learning rate is. Those of
    a box are weighted by 2 minus its share of the image. Objectness is to be 1 where a ground truth
    is assigned and 0 elsewhere, but for predictions that overlap one by more than a threshold. Of
    several ground truths of an anchor the last one gives the box; the classes are those of all.
    """

    def __init__(
        self,
        *,
        xy_gain: float,
        wh_gain: float,
        objectness_gain: float,
        class_gain: float,
        ignore_threshold: float,
        missing_labels: MissingLabels,
    ) -> None:
        """
        Args:
            xy_gain, wh_gain, objectness_gain, class_gain: factors of the losses.
            ignore_threshold: IoU of a prediction with a ground truth.
            missing_labels: negatives to leave out.
        """
        super().__init__(decode_exp_boxes, missing_labels)
        self.gains = {
            "loss_xy": xy_gain,
            "loss_wh": wh_gain,
            "loss_obj": objectness_gain,
            "loss_cls": class_gain,
        }
        self.ignore_threshold = ignore_threshold

    def forward(
        self,
        predictions: DensePredictions,
        targets: Sequence[CellTargets],
        unlabelled: Tensor | None,
        overlaps: Sequence[Tensor],
        areas: Sequence[float],
    ) -> dict[str, Tensor]:
        """Losses ``loss_xy``, ``loss_wh``, ``loss_obj`` and ``loss_cls``.

        Args:
            predictions: of the batch.
            targets: of each feature map; a ground truth is in one of them.
            unlabelled: (N, K) bool, classes that are not annotated in an image, or None.
            overlaps: of each feature map (N, A_l), largest IoU of a prediction with ground truth.
            areas: of the N images, in pixels.
        """
        sums = dict.fromkeys(self.gains, 0.0)
        for level, target in enumerate(targets):
            of_level = self._of_level(predictions, level, target, unlabelled, overlaps, areas)
            sums = {name: sums[name] + loss for name, loss in of_level.items()}
        images = len(predictions.logits[0])
        return {name: self.gains[name] * loss / images for name, loss in sums.items()}

    def _of_level(self, predictions, level, target, unlabelled, overlaps, areas):
        logits = full_precision(predictions.logits[level])
        matched = torch.zeros_like(logits[..., 1:])
        matched[target.images, target.anchors, target.classes] = 1.0
        assigned = matched.amax(dim=-1)
        unseen, missing = self.missing(logits, target, unlabelled, overlaps[level])
        left_out = (overlaps[level] > self.ignore_threshold) & (assigned == 0)
        if unseen is not None:
            left_out = left_out | unseen
        order = torch.arange(1, len(target.anchors) + 1, device=logits.device)
        last = last_of_each(target, order, logits)[target.images, target.anchors] == order
        index = target.images[last], target.anchors[last]
        loss_cls = _cross_entropy(logits[index][:, 1:], matched[index])
        if missing is not None:
            loss_cls = loss_cls.masked_fill(missing[last], 0.0)
        loss_obj = _cross_entropy(logits[..., 0], assigned).masked_fill(left_out, 0.0)
        losses = {"loss_obj": loss_obj.sum(), "loss_cls": loss_cls.sum()}
        outputs = full_precision(predictions.boxes[level][index])
        anchors = predictions.anchors[level].tensor[index[1]]
        boxes = target.boxes[last].to(outputs.dtype)
        wanted = exp_box_targets(boxes, anchors, predictions.strides[level])
        share = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / outputs.new_tensor(areas)[index[0]]
        loss_xy = _cross_entropy(outputs[:, :2], wanted[:, :2].clamp(0, 1)).sum(dim=1)
        # Half a square: its derivative is the difference, as in Darknet.
        loss_wh = (outputs[:, 2:] - wanted[:, 2:]).square().sum(dim=1) / 2
        return {
            **losses,
            "loss_xy": ((2 - share) * loss_xy).sum(),
            "loss_wh": ((2 - share) * loss_wh).sum(),
        }


def _cross_entropy(logits, wanted):
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
