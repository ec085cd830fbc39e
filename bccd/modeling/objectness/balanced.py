"""Losses of YOLOv5 and YOLOv7: CIoU, and binary cross-entropies of objectness and classes."""

from collections.abc import Sequence

import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F

from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.losses import ciou, mean_over_processes
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.objectness.pairs import CellTargets, Decode, ObjectnessLoss, last_of_each
from bccd.modeling.precision import full_precision


class BalancedLoss(ObjectnessLoss):
    """CIoU, objectness and class losses as YOLOv5 and YOLOv7 weigh them.

    Objectness is to be the CIoU of the box that is predicted, 0 where nothing is matched. Box and
    class losses are means over the pairs of a feature map, that of objectness a mean over all of
    its anchors times ``balance``; they are summed over the maps and multiplied by the gains and by
    the number of images of the batch.
    """

    def __init__(
        self,
        decode: Decode,
        *,
        box_gain: float,
        objectness_gain: float,
        class_gain: float,
        balance: Sequence[float],
        scale_gains: bool,
        missing_labels: MissingLabels,
    ) -> None:
        """
        Args:
            decode: box outputs (T, 4), anchors (T, 4) and a stride, in one unit, to boxes (T, 4).
            box_gain, objectness_gain, class_gain: factors of the losses.
            balance: of the objectness of each feature map, from the finest on.
            scale_gains: as in training as published: all times 3 / L, that of the classes also
                times K / 80, that of objectness times the input's area / 640 ** 2.
            missing_labels: negatives to leave out.
        """
        super().__init__(decode, missing_labels)
        self.box_gain, self.objectness_gain, self.class_gain = box_gain, objectness_gain, class_gain
        self.balance = tuple(balance)
        self.scale_gains = scale_gains

    def forward(
        self,
        predictions: DensePredictions,
        targets: Sequence[CellTargets],
        unlabelled: Tensor | None = None,
        overlaps: Sequence[Tensor | None] = (),
    ) -> dict[str, Tensor]:
        """Losses ``loss_box``, ``loss_obj`` and, of several classes, ``loss_cls``.

        Args:
            predictions: of the batch.
            targets: of each feature map. Of an anchor in several pairs, the last one gives its
                objectness.
            unlabelled: (N, K) bool, classes that are not annotated in an image, or None.
            overlaps: of each feature map (N, A_l), see :class:`MissingLabels`; () where that does
                not read them.
        """
        counts = self._pair_counts(predictions, targets)
        box, objectness, classes = [], [], []
        overlaps = overlaps or [None] * len(targets)
        for level, pairs in enumerate(self.pairs(predictions, targets)):
            logits, target, count = predictions.logits[level], targets[level], counts[level]
            unseen, missing = self.missing(logits, target, unlabelled, overlaps[level])
            quality = ciou(pairs.boxes, pairs.targets)
            box.append((1 - quality).sum() / count)
            wanted = last_of_each(target, quality.detach().clamp(min=0), logits)
            loss = _cross_entropy(full_precision(logits[..., 0]), wanted, unseen)
            objectness.append(self.balance[level] * loss.mean())
            loss = _cross_entropy(pairs.class_logits, pairs.positive, missing)
            classes.append(loss.sum() / (count * loss.shape[-1]))
        gains = self._gains(predictions)
        losses = {"loss_box": box, "loss_obj": objectness, "loss_cls": classes}
        if predictions.logits[0].shape[-1] == 2:
            del losses["loss_cls"]  # a box of one class needs no other
        return {name: gains[name] * sum(terms) for name, terms in losses.items()}

    def _pair_counts(self, predictions, targets):
        """Pairs of each feature map, mean over the processes."""
        counts = [len(target.anchors) for target in targets]
        return mean_over_processes(torch.tensor(counts, device=predictions.logits[0].device))

    def _gains(self, predictions):
        """Factors of the losses, with the number of images of all processes."""
        images = len(predictions.logits[0]) * comm.get_world_size()
        factors = {"loss_box": 1.0, "loss_obj": 1.0, "loss_cls": 1.0}
        if self.scale_gains:
            height, width = (side * predictions.strides[0] for side in predictions.sizes[0])
            num_classes = predictions.logits[0].shape[-1] - 1
            factors["loss_obj"], factors["loss_cls"] = height * width / 640**2, num_classes / 80
            factors = {name: x * 3 / len(self.balance) for name, x in factors.items()}
        gains = self.box_gain, self.objectness_gain, self.class_gain
        return {
            name: images * factor * gain
            for (name, factor), gain in zip(factors.items(), gains, strict=True)
        }


def _cross_entropy(logits, wanted, missing):
    """Binary cross-entropy, not reduced, 0 where ``missing``."""
    wanted = wanted.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return loss if missing is None else loss.masked_fill(missing, 0.0)
