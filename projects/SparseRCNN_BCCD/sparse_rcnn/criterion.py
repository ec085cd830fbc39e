"""Set-prediction loss of Sparse R-CNN (arXiv 2011.12450, section 3.4)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bccd.modeling.losses import (
    giou_loss,
    iou,
    is_class,
    mean_over_processes,
    pairwise_giou,
    pairwise_l1,
    sigmoid_focal_loss,
    varifocal_loss,
)
from bccd.modeling.matching import focal_class_cost, match_one_to_one, repeats_that_fit
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.sigmoid_options import refuse_sigmoid_options


class SetCriterion(nn.Module):
    """One-to-one matching and the losses of the pairs, all stages and images at once.

    Two additions to what is published help on few images; both are off by default. A stage can
    match every ground-truth box to several proposals ("hybrid layer" of H-DETR, arXiv 2207.13080),
    and scores can be trained to be the IoU of their box (varifocal loss) instead of 1.

    Args:
        num_classes: K.
        class_weight, l1_weight, giou_weight: weights of the three terms, in the matching
            cost and in the loss.
        use_focal: focal loss on sigmoid scores; else cross-entropy with a class more.
        alpha, gamma: of the focal loss.
        no_object_weight: weight of the further class in the cross-entropy.
        quality_scores: varifocal instead of focal loss; needs ``use_focal``.
        repeats: proposals for each ground-truth box, one number a stage; empty: 1.
        missing_labels: negatives to leave out; only with ``use_focal``.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        class_weight: float,
        l1_weight: float,
        giou_weight: float,
        use_focal: bool,
        alpha: float,
        gamma: float,
        no_object_weight: float,
        quality_scores: bool = False,
        repeats: Sequence[int] = (),
        missing_labels: MissingLabels | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.class_weight, self.l1_weight, self.giou_weight = class_weight, l1_weight, giou_weight
        self.use_focal, self.alpha, self.gamma = use_focal, alpha, gamma
        self.quality_scores, self.repeats = quality_scores, list(repeats)
        self.missing_labels = missing_labels or MissingLabels(num_classes)
        if not use_focal:
            empty_weight = torch.ones(num_classes + 1)
            empty_weight[-1] = no_object_weight
            self.register_buffer("empty_weight", empty_weight)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments from ``cfg.MODEL.SparseRCNN``.

        Raises:
            ValueError: options that do not fit together; names the key.
        """
        node = cfg.MODEL.SparseRCNN
        repeats = node.REPEAT_TRUTH
        if len(repeats) not in (0, node.NUM_HEADS) or min(repeats, default=1) < 1:
            raise ValueError(
                f"MODEL.SparseRCNN.REPEAT_TRUTH is {repeats}; give one number from 1 on for each "
                f"of the NUM_HEADS {node.NUM_HEADS} stages, or ()"
            )
        if not node.USE_FOCAL:
            refuse_sigmoid_options(cfg, "SparseRCNN", "MODEL.SparseRCNN.USE_FOCAL True")
        return {
            "num_classes": node.NUM_CLASSES,
            "class_weight": node.CLASS_WEIGHT,
            "l1_weight": node.L1_WEIGHT,
            "giou_weight": node.GIOU_WEIGHT,
            "use_focal": node.USE_FOCAL,
            "alpha": node.ALPHA,
            "gamma": node.GAMMA,
            "no_object_weight": node.NO_OBJECT_WEIGHT,
            "quality_scores": node.QUALITY_SCORES,
            "repeats": repeats,
            "missing_labels": MissingLabels.build(cfg, node.NUM_CLASSES),
        }

    def forward(
        self,
        logits: Tensor,
        boxes: Tensor,
        instances: list[Instances],
        unlabelled: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses of every stage, of the pairs with the least matching cost.

        Args:
            logits: (S, N, P, K), or K + 1 with softmax.
            boxes: (S, N, P, 4) XYXY in pixels.
            instances: ground truth of the N images: gt_boxes (XYXY in pixels),
                gt_classes and the image size before padding.
            unlabelled: (N, K) bool, classes that are not annotated in an image: a
                detection of such a class is not held to be wrong. Not with softmax.

        Returns:
            dict[str, Tensor]: ``loss_ce``, ``loss_bbox``, ``loss_giou`` of the last stage, and the
            same with ``_{i}`` for each earlier stage i.
        """
        with torch.autocast(boxes.device.type, enabled=False):
            logits, boxes, truth = logits.float(), boxes.float(), _pad_truth(instances)
            counts = [len(x) for x in instances]
            repeats = self._repeats_of(len(logits))
            pairs = self.match(logits, boxes, truth, counts, repeats)
            num_boxes = mean_over_processes(
                boxes.new_tensor([_repeated(counts, repeat, boxes.shape[2]) for repeat in repeats])
            )
            losses = self._losses(logits, boxes, truth, pairs, num_boxes, unlabelled)
        return _name_by_stage(losses)

    def _repeats_of(self, stages):
        """Proposals for each ground-truth box, of the last ``stages``."""
        return (self.repeats or [1] * stages)[-stages:]

    def assign(self, logits: Tensor, boxes: Tensor, instances: list[Instances]) -> Tensor:
        """Pairs (4, T) that :meth:`forward` takes its losses of, whose arguments these are."""
        truth, counts = _pad_truth(instances), [len(x) for x in instances]
        repeats = self._repeats_of(len(logits))
        return self.match(logits.float(), boxes.float(), truth, counts, repeats)

    def match(
        self,
        logits: Tensor,
        boxes: Tensor,
        truth: tuple[Tensor, Tensor, Tensor],
        counts: list[int],
        repeats: list[int],
    ) -> Tensor:
        """Pairs (4, T) of the least cost, see :func:`.match_one_to_one`.

        Args:
            logits, boxes: as of :meth:`forward`, in fp32.
            truth: of :func:`_pad_truth`.
            counts: ground-truth boxes of each image.
            repeats: proposals for each ground-truth box, one number a stage.
        """
        return match_one_to_one(self._matching_cost(logits, boxes, *truth), counts, repeats)

    def of_known_pairs(
        self, logits: Tensor, boxes: Tensor, instances: list[Instances], matched: Tensor
    ) -> dict[str, Tensor]:
        """Weighted losses, summed over the stages, of predictions whose ground truth is known.

        Args:
            logits, boxes, instances: as of :meth:`forward`, with focal loss.
            matched: (N, P) int64, the ground truth of each, -1 for those not to count.

        Returns:
            dict[str, Tensor]: ``loss_ce_dn``, ``loss_bbox_dn``, ``loss_giou_dn``.
        """
        with torch.autocast(boxes.device.type, enabled=False):
            logits, boxes, truth = logits.float(), boxes.float(), _pad_truth(instances)
            known = (matched >= 0).expand(len(logits), -1, -1)
            stage, image, proposal = known.nonzero(as_tuple=True)
            pairs = torch.stack([stage, image, proposal, matched[image, proposal]])
            num_boxes = mean_over_processes(known.sum((1, 2)))
            losses = self._losses(logits, boxes, truth, pairs, num_boxes, counted=known)
        return {f"{name}_dn": values.sum() for name, values in losses.items()}

    def _losses(self, logits, boxes, truth, pairs, num_boxes, unlabelled=None, counted=None):
        """The three losses (S,): box losses of ``pairs`` (4, T), the class loss of all predictions.

        ``truth``: of :func:`_pad_truth`; ``counted`` (S, N, P) bool: predictions that have a class
        loss, None: all.
        """
        gt_boxes, gt_classes, sizes = truth
        stage, image, proposal, box = pairs
        pair_boxes, pair_gt = boxes[stage, image, proposal], gt_boxes[image, box]
        pair_sizes = sizes[image]
        l1 = (pair_boxes / pair_sizes - pair_gt / pair_sizes).abs().sum(1)
        zeros = boxes.new_zeros(len(boxes))
        targets = logits.new_full(logits.shape[:3], self.num_classes, dtype=torch.int64)
        targets[stage, image, proposal] = gt_classes[image, box]
        if self.use_focal:
            quality = boxes.new_zeros(boxes.shape[:3])
            quality[stage, image, proposal] = iou(pair_boxes.detach(), pair_gt)
            overlap = self._best_overlap(boxes, gt_boxes)
            loss_ce = self._focal_loss(logits, targets, quality, unlabelled, overlap)
            if counted is not None:
                loss_ce = loss_ce * counted[..., None]
            loss_ce = loss_ce.sum((1, 2, 3)) / num_boxes
        else:
            loss_ce = self._softmax_loss(logits, targets)
        l1 = zeros.index_add(0, stage, l1) / num_boxes
        giou = zeros.index_add(0, stage, giou_loss(pair_boxes, pair_gt)) / num_boxes
        return {
            "loss_ce": self.class_weight * loss_ce,
            "loss_bbox": self.l1_weight * l1,
            "loss_giou": self.giou_weight * giou,
        }

    @torch.no_grad()
    def _matching_cost(self, logits, boxes, gt_boxes, gt_classes, sizes):
        """Cost (S, N, P, M) of every proposal for every (padded) ground-truth box."""
        if self.use_focal:
            class_cost = focal_class_cost(logits, self.alpha, self.gamma)
        else:
            class_cost = -logits.softmax(-1)
        shape = (*logits.shape[:3], gt_classes.shape[1])
        class_cost = class_cost.gather(-1, gt_classes[None, :, None].expand(shape))
        l1_cost = pairwise_l1(boxes / sizes[:, None], gt_boxes / sizes[:, None])
        giou_cost = -pairwise_giou(boxes, gt_boxes)
        return (
            self.class_weight * class_cost + self.l1_weight * l1_cost + self.giou_weight * giou_cost
        )

    def _best_overlap(self, boxes, gt_boxes):
        """Largest IoU (S, N, P) with ground truth, 0 without any; None if nobody reads it."""
        if not self.missing_labels.uses_overlap:
            return None
        gt_boxes = F.pad(gt_boxes, (0, 0, 0, 1))  # a box without area, for images without any
        return iou(boxes.detach()[..., None, :], gt_boxes[:, None]).amax(-1)

    def _focal_loss(self, logits, targets, quality, unlabelled, overlap):
        """Loss (S, N, P, K) of every score; target class K (S, N, P): no object."""
        positive = is_class(targets, self.num_classes)
        if self.quality_scores:
            loss = varifocal_loss(logits, positive * quality[..., None])
        else:
            loss = sigmoid_focal_loss(logits, positive.float(), alpha=self.alpha, gamma=self.gamma)
        missing = self.missing_labels(logits, positive, unlabelled, overlap)
        return loss.masked_fill(missing, 0.0)

    def _softmax_loss(self, logits, targets):
        """Weighted mean (S,) of the cross-entropy; target class K (S, N, P): no object."""
        loss = F.cross_entropy(
            logits.permute(0, 3, 1, 2), targets, self.empty_weight, reduction="none"
        )
        return loss.sum((1, 2)) / self.empty_weight[targets].sum((1, 2))


def _pad_truth(instances):
    """Boxes (N, M, 4) and classes (N, M) padded to the largest M; image sizes (N, 4) as whwh."""
    gt_boxes = pad_sequence([x.gt_boxes.tensor for x in instances], batch_first=True)
    gt_classes = pad_sequence([x.gt_classes for x in instances], batch_first=True)
    return gt_boxes, gt_classes, gt_boxes.new_tensor([x.image_size[::-1] * 2 for x in instances])


def _repeated(counts, repeat, proposals):
    """Number of ground-truth boxes of all images, each as often as it is to be matched."""
    return float(sum(count * repeats_that_fit(repeat, proposals, count) for count in counts))


def _name_by_stage(losses):
    """Losses (S,) to scalars: the plain name for the last stage, ``_{i}`` for those before."""
    named = {name: values[-1] for name, values in losses.items()}
    for name, values in losses.items():
        named.update({f"{name}_{i}": value for i, value in enumerate(values[:-1])})
    return named
