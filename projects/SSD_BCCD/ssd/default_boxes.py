"""SSD's default boxes and how ground truth is matched to them (arXiv 1512.02325, section 2.2)."""

import math

import torch
from detectron2.modeling.anchor_generator import ANCHOR_GENERATOR_REGISTRY, DefaultAnchorGenerator
from detectron2.modeling.matcher import Matcher


@ANCHOR_GENERATOR_REGISTRY.register()
class SSDDefaultBoxes(DefaultAnchorGenerator):
    """Detectron2's anchors with SSD's choice of boxes at a cell.

    ``SIZES[k]`` is ``[s_k, s_{k+1}]`` in pixels: a box of area ``s_k ** 2`` for each of
    ``ASPECT_RATIOS[k]``, and one more square of side ``sqrt(s_k * s_{k+1})``. With ``[s_k]`` alone
    there is no such square. ``OFFSET`` must be 0.5 for centres in the middle of the cells.
    """

    def generate_cell_anchors(self, sizes, aspect_ratios):
        """
        Args:
            sizes: ``[s_k]`` or ``[s_k, s_{k+1}]``.
            aspect_ratios: height / width.

        Returns:
            ``(boxes, 4)`` corners around (0, 0).

        Raises:
            ValueError: another number of sizes.
        """
        if len(sizes) not in (1, 2):
            raise ValueError(
                "MODEL.ANCHOR_GENERATOR.SIZES of SSD has one list a feature map, [size] or "
                f"[size, size of the next map], got {list(sizes)}"
            )
        boxes = super().generate_cell_anchors(sizes[:1], aspect_ratios)
        if len(sizes) == 1:
            return boxes
        extra = super().generate_cell_anchors([math.sqrt(sizes[0] * sizes[1])], [1.0])
        return torch.cat([boxes, extra])


class DefaultBoxMatcher(Matcher):
    """Detectron2's ``Matcher`` with SSD's rule that every ground-truth box gets a box of its own.

    Detectron2's low-quality matches do not promise that: a box which is the best one of a small
    object stays with a larger neighbour that it overlaps more.
    """

    def __init__(self, iou_threshold):
        """
        Args:
            iou_threshold: a default box is also matched to the ground truth that it overlaps most,
                if by at least this IoU.
        """
        super().__init__([iou_threshold], [0, 1], allow_low_quality_matches=False)

    def __call__(self, match_quality_matrix):
        """
        Args:
            match_quality_matrix: ``(M, A)`` IoU of ground-truth and default boxes.

        Returns:
            ``(A,)`` int64 index of the matched ground truth and ``(A,)`` int8, 1 where matched.
        """
        matches, labels = super().__call__(match_quality_matrix)
        count = min(match_quality_matrix.shape)
        if count == 0:
            return matches, labels
        # The original's bipartite matching: the best pair of all, then the best pair among the
        # rest, and so on. No ground truth can be pushed below its `count`-th best box.
        quality, boxes = match_quality_matrix.topk(count, dim=1)
        for _ in range(count):
            best = quality.argmax()
            truth, box = best // count, boxes.flatten()[best]
            overlaps = quality.flatten()[best] > 0
            matches[box] = torch.where(overlaps, truth, matches[box])
            labels[box] = torch.where(overlaps, 1, labels[box])
            quality[truth] = -1
            quality[boxes == box] = -1
        return matches, labels
