"""Set-prediction loss of Sparse R-CNN (arXiv 2011.12450, section 3.4)."""

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from bccd.modeling.losses import (
    giou_loss,
    mean_over_processes,
    pairwise_giou,
    pairwise_l1,
    sigmoid_focal_loss,
)
from bccd.modeling.matching import focal_class_cost, match_one_to_one


class SetCriterion(nn.Module):
    """One-to-one matching and the losses of the pairs, all stages and images at once.

    Args:
        num_classes (int): K.
        class_weight, l1_weight, giou_weight (float): weights of the three terms, in the matching
            cost and in the loss.
        use_focal (bool): focal loss on sigmoid scores; else cross-entropy with a class more.
        alpha, gamma (float): of the focal loss.
        no_object_weight (float): weight of the further class in the cross-entropy.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes,
        class_weight,
        l1_weight,
        giou_weight,
        use_focal,
        alpha,
        gamma,
        no_object_weight,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.class_weight, self.l1_weight, self.giou_weight = class_weight, l1_weight, giou_weight
        self.use_focal, self.alpha, self.gamma = use_focal, alpha, gamma
        if not use_focal:
            empty_weight = torch.ones(num_classes + 1)
            empty_weight[-1] = no_object_weight
            self.register_buffer("empty_weight", empty_weight)

    @classmethod
    def from_config(cls, cfg):
        """Arguments from ``cfg.MODEL.SparseRCNN``."""
        node = cfg.MODEL.SparseRCNN
        return {
            "num_classes": node.NUM_CLASSES,
            "class_weight": node.CLASS_WEIGHT,
            "l1_weight": node.L1_WEIGHT,
            "giou_weight": node.GIOU_WEIGHT,
            "use_focal": node.USE_FOCAL,
            "alpha": node.ALPHA,
            "gamma": node.GAMMA,
            "no_object_weight": node.NO_OBJECT_WEIGHT,
        }

    def forward(self, logits, boxes, instances):
        """Weighted losses of every stage.

        Args:
            logits (Tensor): (S, N, P, K), or K + 1 with softmax.
            boxes (Tensor): (S, N, P, 4) XYXY in pixels.
            instances (list[Instances]): ground truth of the N images: gt_boxes (XYXY in pixels),
                gt_classes and the image size before padding.

        Returns:
            dict[str, Tensor]: ``loss_ce``, ``loss_bbox``, ``loss_giou`` of the last stage, and the
            same with ``_{i}`` for each earlier stage i.
        """
        with torch.autocast(boxes.device.type, enabled=False):
            logits, boxes = logits.float(), boxes.float()
            gt_boxes = pad_sequence([x.gt_boxes.tensor for x in instances], batch_first=True)
            gt_classes = pad_sequence([x.gt_classes for x in instances], batch_first=True)
            sizes = boxes.new_tensor([x.image_size[::-1] * 2 for x in instances])
            counts = [len(x) for x in instances]
            cost = self._matching_cost(logits, boxes, gt_boxes, gt_classes, sizes)
            images, proposals, matched = match_one_to_one(cost, counts)

            stages = torch.arange(len(boxes), device=boxes.device)[:, None]
            pair_boxes, pair_gt = boxes[stages, images, proposals], gt_boxes[images, matched]
            targets = logits.new_full(logits.shape[:3], self.num_classes, dtype=torch.int64)
            targets[stages, images, proposals] = gt_classes[images, matched]

            num_boxes = mean_over_processes(boxes.new_tensor(sum(counts)))
            pair_sizes = sizes[images]
            l1 = (pair_boxes / pair_sizes - pair_gt / pair_sizes).abs().sum((1, 2)) / num_boxes
            giou = giou_loss(pair_boxes, pair_gt).sum(1) / num_boxes
            losses = {
                "loss_ce": self.class_weight * self._class_loss(logits, targets, num_boxes),
                "loss_bbox": self.l1_weight * l1,
                "loss_giou": self.giou_weight * giou,
            }
        return _name_by_stage(losses)

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

    def _class_loss(self, logits, targets, num_boxes):
        """Class loss (S,) for target classes (S, N, P), K where there is no object."""
        if self.use_focal:
            one_hot = F.one_hot(targets, self.num_classes + 1)[..., :-1].float()
            loss = sigmoid_focal_loss(logits, one_hot, alpha=self.alpha, gamma=self.gamma)
            return loss.sum((1, 2, 3)) / num_boxes
        loss = F.cross_entropy(
            logits.permute(0, 3, 1, 2), targets, self.empty_weight, reduction="none"
        )
        return loss.sum((1, 2)) / self.empty_weight[targets].sum((1, 2))


def _name_by_stage(losses):
    """Losses (S,) to scalars: the plain name for the last stage, ``_{i}`` for those before."""
    named = {name: values[-1] for name, values in losses.items()}
    for name, values in losses.items():
        named.update({f"{name}_{i}": value for i, value in enumerate(values[:-1])})
    return named
