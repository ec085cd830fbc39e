"""Negatives that a class loss leaves out, because it may be the label that is missing."""

import torch
from torch import nn

from bccd.data.records import model_class_names
from bccd.data.unlabelled import class_ids


class MissingLabels(nn.Module):
    """BCCD leaves many red cells without a label; two signs of it are heeded.

    An image is not annotated for a class at all (INPUT.UNLABELLED_IF_ABSENT): nothing is a negative
    of that class there. And a detector is confident of a cell where nothing is annotated: that
    prediction is no negative of its class.

    Args:
        num_classes (int): K.
        classes (list[int]): those of which a confident prediction is believed; empty: none.
        min_score (float): from which it is confident.
        max_iou (float): overlap with every ground-truth box up to which nothing is annotated.
    """

    def __init__(self, num_classes, *, classes=(), min_score=0.5, max_iou=0.1):
        super().__init__()
        self.min_score, self.max_iou = min_score, max_iou
        if wrong := [k for k in classes if not 0 <= k < num_classes]:
            raise ValueError(
                f"MODEL.MISSING_LABELS.CLASSES has class {wrong[0]}, but the model predicts "
                f"{num_classes} classes"
            )
        believed = torch.zeros(num_classes, dtype=torch.bool)
        believed[list(classes)] = True
        self.register_buffer("believed", believed, persistent=False)
        self.believes_scores = len(classes) > 0

    @classmethod
    def build(cls, cfg, num_classes):
        """From ``cfg.MODEL.MISSING_LABELS``.

        Raises:
            ValueError: an unknown class, or a share outside [0, 1]; names the key.
        """
        node = cfg.MODEL.MISSING_LABELS
        for key in ("MIN_SCORE", "MAX_IOU"):
            if not 0 <= node[key] <= 1:
                raise ValueError(f"MODEL.MISSING_LABELS.{key} is {node[key]}; use 0 to 1")
        if node.ENABLED and not node.CLASSES:
            raise ValueError("MODEL.MISSING_LABELS is ENABLED without CLASSES; name one")
        names = node.CLASSES if node.ENABLED else ()
        classes = class_ids(names, "MODEL.MISSING_LABELS.CLASSES", model_class_names(cfg))
        return cls(num_classes, classes=classes, min_score=node.MIN_SCORE, max_iou=node.MAX_IOU)

    @torch.no_grad()
    def forward(self, logits, positive, unlabelled, overlap):
        """Which entries the loss is to leave out.

        Args:
            logits (Tensor): (..., N, A, K), of sigmoid scores.
            positive (Tensor): same shape, bool; these are never left out.
            unlabelled (Tensor or None): (N, K) bool, classes that are not annotated in an image.
            overlap (Tensor or None): (..., N, A), the largest IoU of each prediction with ground
                truth; read if ``believes_scores``.

        Returns:
            Tensor, bool, of the shape of ``logits``.

        Raises:
            ValueError: ``unlabelled`` or ``positive`` is of another number of classes. A class
                dimension of 1 would broadcast, and each class take the loss of all.
        """
        others = {"positive": positive, "unlabelled": unlabelled, "believed": self.believed}
        for name, other in others.items():
            if other is not None and other.shape[-1] != logits.shape[-1]:
                raise ValueError(
                    f"{name} has {other.shape[-1]} classes, but the model predicts "
                    f"{logits.shape[-1]}: set NUM_CLASSES of the model's config node to the number "
                    "of classes of the data"
                )
        missing = torch.zeros_like(positive)
        if unlabelled is not None:
            missing = missing | unlabelled[:, None]
        if self.believes_scores:
            alone = (overlap <= self.max_iou)[..., None]
            missing = missing | (alone & self.believed & (logits.sigmoid() >= self.min_score))
        return missing & ~positive
