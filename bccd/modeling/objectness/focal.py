"""The BCCD paper's losses: focal loss on objectness and classes, GIoU and L1 on boxes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.losses import giou_loss, mean_over_processes, sigmoid_focal_loss
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.objectness.pairs import CellTargets, Decode, ObjectnessLoss, last_of_each
from bccd.modeling.precision import full_precision


class FocalGIoUL1Loss(ObjectnessLoss):
    """The BCCD paper's losses: focal on objectness and classes, GIoU on boxes, L1 on their outputs.

    The L1 is taken on ``encode``'s numbers, in which a platelet weighs as much as a white cell.
    Each loss is a sum, divided by the number of pairs of all feature maps and processes.
    """

    def __init__(
        self,
        decode: Decode,
        encode: Decode,
        squash: Callable[[Tensor], Tensor],
        *,
        alpha: float,
        gamma: float,
        class_weight: float,
        giou_weight: float,
        l1_weight: float,
        missing_labels: MissingLabels,
    ) -> None:
        """
        Args:
            decode: see :class:`BalancedLoss`.
            encode: boxes, anchors and a stride to what ``squash`` of the box outputs is to be.
            squash: of the box outputs (T, 4).
            alpha, gamma: of the focal loss.
            class_weight: factor of both focal losses.
            giou_weight, l1_weight: factors of the others.
            missing_labels: negatives to leave out.
        """
        super().__init__(decode, missing_labels)
        self.encode, self.squash = encode, squash
        self.alpha, self.gamma = alpha, gamma
        self.class_weight, self.giou_weight, self.l1_weight = class_weight, giou_weight, l1_weight

    def forward(
        self,
        predictions: DensePredictions,
        targets: Sequence[CellTargets],
        unlabelled: Tensor | None = None,
        overlaps: Sequence[Tensor | None] = (),
    ) -> dict[str, Tensor]:
        """``loss_obj``, ``loss_giou``, ``loss_l1``, ``loss_cls``; see :class:`BalancedLoss`."""
        sums = {name: [] for name in ("loss_obj", "loss_giou", "loss_l1", "loss_cls")}
        overlaps = overlaps or [None] * len(targets)
        for level, pairs in enumerate(self.pairs(predictions, targets)):
            logits, target = predictions.logits[level], targets[level]
            unseen, missing = self.missing(logits, target, unlabelled, overlaps[level])
            matched = last_of_each(target, pairs.boxes.new_ones(len(target.anchors)), logits)
            sums["loss_obj"].append(self._focal(full_precision(logits[..., 0]), matched, unseen))
            sums["loss_cls"].append(self._focal(pairs.class_logits, pairs.positive, missing))
            sums["loss_giou"].append(giou_loss(pairs.boxes, pairs.targets).sum())
            wanted = self.encode(pairs.targets, pairs.anchors, 1.0)
            sums["loss_l1"].append((self.squash(pairs.outputs) - wanted).abs().sum())
        if predictions.logits[0].shape[-1] == 2:
            del sums["loss_cls"]
        count = torch.tensor(
            sum(len(target.anchors) for target in targets), device=predictions.logits[0].device
        )
        count, weights = mean_over_processes(count), self._weights()
        return {name: weights[name] * sum(terms) / count for name, terms in sums.items()}

    def _weights(self):
        focal = {"loss_obj": self.class_weight, "loss_cls": self.class_weight}
        return {**focal, "loss_giou": self.giou_weight, "loss_l1": self.l1_weight}

    def _focal(self, logits, wanted, missing):
        loss = sigmoid_focal_loss(
            logits, wanted.to(logits.dtype), alpha=self.alpha, gamma=self.gamma
        )
        return (loss if missing is None else loss.masked_fill(missing, 0.0)).sum()
