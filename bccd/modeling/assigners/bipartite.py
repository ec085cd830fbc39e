"""Matching by IoU in which every ground truth gets an anchor (SSD, arXiv 1512.02325, 2.2)."""

import torch
from detectron2.modeling.matcher import Matcher
from torch import Tensor


class BipartiteMatcher(Matcher):
    """Detectron2's ``Matcher`` with SSD's rule that every ground-truth box gets an anchor.

    Detectron2's low-quality matches do not promise that: an anchor which is the best one of a small
    object stays with a larger neighbour that it overlaps more.
    """

    def __init__(self, iou_threshold: float, ignore_threshold: float | None = None) -> None:
        """
        Args:
            iou_threshold: an anchor is also matched to the ground truth that it overlaps most, if
                by at least this IoU.
            ignore_threshold: an unmatched anchor that overlaps ground truth by at least this IoU is
                ignored; None: no anchor is.
        """
        if ignore_threshold is None:
            super().__init__([iou_threshold], [0, 1], allow_low_quality_matches=False)
        else:
            thresholds = [ignore_threshold, iou_threshold]
            super().__init__(thresholds, [0, -1, 1], allow_low_quality_matches=False)

    def __call__(self, match_quality_matrix: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            match_quality_matrix: ``(M, A)`` IoU of ground-truth boxes and anchors.

        Returns:
            ``(A,)`` int64 index of the matched ground truth and ``(A,)`` int8: 1 where matched, 0
            for background, -1 where ignored.
        """
        matches, labels = super().__call__(match_quality_matrix)
        count = min(match_quality_matrix.shape)
        if count == 0:
            return matches, labels
        # The original's bipartite matching: the best pair of all, then the best pair among the
        # rest, and so on. No ground truth can be pushed below its `count`-th best anchor.
        quality, anchors = match_quality_matrix.topk(count, dim=1)
        for _ in range(count):
            best = quality.argmax()
            truth, anchor = best // count, anchors.flatten()[best]
            overlaps = quality.flatten()[best] > 0
            matches[anchor] = torch.where(overlaps, truth, matches[anchor])
            labels[anchor] = torch.where(overlaps, 1, labels[anchor])
            quality[truth] = -1
            quality[anchors == anchor] = -1
        return matches, labels
