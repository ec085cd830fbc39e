"""Negatives that a class loss ignores, because their label may be missing."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from bccd.data.records import model_class_names
from bccd.data.unlabelled import class_ids


class MissingLabels(nn.Module):
    """Finds the negatives to ignore. BCCD, for one, leaves many red cells without a label.

    In an image that is not annotated for a class at all (INPUT.UNLABELLED_IF_ABSENT), all negatives
    of that class are ignored. And for the classes of MODEL.MISSING_LABELS, so is a prediction with
    a high score that overlaps no ground truth.

    Args:
        num_classes: K.
        classes: indices of the classes whose confident predictions are ignored; empty: none.
        min_score: from which a prediction is confident.
        max_iou: overlap with ground truth up to which a prediction counts as overlapping none.

    Attributes:
        uses_overlap: whether :meth:`forward` reads ``overlap``.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        classes: Sequence[int] = (),
        min_score: float = 0.5,
        max_iou: float = 0.1,
    ) -> None:
        super().__init__()
        self.min_score, self.max_iou = min_score, max_iou
        if wrong := [k for k in classes if not 0 <= k < num_classes]:
            raise ValueError(
                f"MODEL.MISSING_LABELS.CLASSES has class {wrong[0]}, but the model predicts "
                f"{num_classes} classes"
            )
        ignored = torch.zeros(num_classes, dtype=torch.bool)
        ignored[list(classes)] = True
        self.register_buffer("ignored_if_confident", ignored, persistent=False)
        self.uses_overlap = len(classes) > 0

    @classmethod
    def build(cls, cfg: CfgNode, num_classes: int) -> "MissingLabels":
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
    def forward(
        self, logits: Tensor, positive: Tensor, unlabelled: Tensor | None, overlap: Tensor | None
    ) -> Tensor:
        """Which entries the loss is to leave out.

        Args:
            logits: (..., N, A, K), of sigmoid scores.
            positive: same shape, bool; these are never left out.
            unlabelled: None, or (N, K) bool, classes that are not annotated in an image.
            overlap: None, or (..., N, A), the largest IoU of each prediction with ground
                truth; read if ``uses_overlap``.

        Returns:
            bool, of the shape of ``logits``.

        Raises:
            ValueError: ``unlabelled`` or ``positive`` is of another number of classes. A class
                dimension of 1 would broadcast, and each class take the loss of all.
        """
        others = {"positive": positive, "unlabelled": unlabelled}
        others["MODEL.MISSING_LABELS"] = self.ignored_if_confident
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
        if self.uses_overlap:
            alone = (overlap <= self.max_iou)[..., None]
            confident = self.ignored_if_confident & (logits.sigmoid() >= self.min_score)
            missing = missing | (alone & confident)
        return missing & ~positive
