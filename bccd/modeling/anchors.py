"""Anchor boxes that are given by width and height, as YOLO's are."""

from collections.abc import Sequence

import torch
from detectron2.modeling.anchor_generator import ANCHOR_GENERATOR_REGISTRY, DefaultAnchorGenerator


@ANCHOR_GENERATOR_REGISTRY.register()
class WidthHeightAnchors(DefaultAnchorGenerator):
    """Detectron2's anchors of any width and height.

    ``SIZES[k]`` lists ``[width, height]`` in pixels for each anchor of a cell of feature map k.
    ``ASPECT_RATIOS`` is not read. ``OFFSET`` must be 0.5 for centres in the middle of the cells.
    """

    def generate_cell_anchors(
        self, sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[float]
    ) -> torch.Tensor:
        """
        Args:
            sizes: ``[width, height]`` of each anchor.
            aspect_ratios: not read.

        Returns:
            ``(anchors, 4)`` corners around (0, 0).

        Raises:
            ValueError: an entry of ``sizes`` is no pair.
        """
        if not all(isinstance(size, Sequence) and len(size) == 2 for size in sizes):
            raise ValueError(
                "MODEL.ANCHOR_GENERATOR.SIZES of WidthHeightAnchors has one list of [width, "
                f"height] a feature map, got {list(sizes)}"
            )
        half = torch.tensor(sizes, dtype=torch.float32) / 2
        return torch.cat([-half, half], dim=1)


def sizes_of_anchors(generator: DefaultAnchorGenerator) -> list[torch.Tensor]:
    """Width and height (A_l, 2) in pixels of the anchors of a cell of each feature map.

    Where the generator was built, which is the host: it stays there when a model moves to a
    device, and anchors are matched by their shape without waiting for it.
    """
    return [cell[:, 2:] - cell[:, :2] for cell in generator.cell_anchors]
