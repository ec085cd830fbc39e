"""SSD's default boxes (arXiv 1512.02325, section 2.2)."""

import math
from collections.abc import Sequence

import torch
from detectron2.modeling.anchor_generator import ANCHOR_GENERATOR_REGISTRY, DefaultAnchorGenerator


@ANCHOR_GENERATOR_REGISTRY.register()
class SSDDefaultBoxes(DefaultAnchorGenerator):
    """Detectron2's anchors with SSD's choice of boxes at a cell.

    ``SIZES[k]`` is ``[s_k, s_{k+1}]`` in pixels: a box of area ``s_k ** 2`` for each of
    ``ASPECT_RATIOS[k]``, and one more square of side ``sqrt(s_k * s_{k+1})``. With ``[s_k]`` alone
    there is no such square. ``OFFSET`` must be 0.5 for centres in the middle of the cells.
    """

    def generate_cell_anchors(
        self, sizes: Sequence[float], aspect_ratios: Sequence[float]
    ) -> torch.Tensor:
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
