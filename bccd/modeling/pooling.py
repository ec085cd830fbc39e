"""Region features from a pyramid of feature maps."""

import torch
import torch.nn.functional as F
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor


class PyramidTable:
    """Feature maps (N, D, H, W) of L levels as one table with a row for each pixel.

    Attributes: ``rows`` (R, D), level by level and image by image; of each level ``sizes``
    (L, 2) as (W, H), and ``offsets`` (L,), its first row.
    """

    def __init__(self, features: list[Tensor]) -> None:
        self.rows = torch.cat([x.permute(0, 2, 3, 1).flatten(0, 2) for x in features])
        self.sizes = torch.stack([self._integers(x.shape[:1:-1]) for x in features])
        counts = [0, *(x.shape[0] * x.shape[2] * x.shape[3] for x in features[:-1])]
        self.offsets = self._integers(counts).cumsum(0)

    def _integers(self, values):
        # Not torch.tensor, in which torch.export would make sizes of images constants.
        return torch.stack([self.rows.new_full((), x, dtype=torch.long) for x in values])

    def weighted_sums(self, index: Tensor, weights: Tensor) -> Tensor:
        """Sums (B, D) of the rows of an index (B, S), each times its weight (B, S)."""
        if not torch.compiler.is_exporting():
            return F.embedding_bag(index, self.rows, per_sample_weights=weights, mode="sum")
        # The same in operators that every runtime has; sample by sample, which needs least memory.
        pairs = zip(index.unbind(1), weights.unbind(1), strict=True)
        return sum(self.rows.index_select(0, rows) * weight[:, None] for rows, weight in pairs)


class RegionPooler(ROIPooler):
    """Detectron2's ROIPooler on batched boxes, of maps that :meth:`prepare` has seen once.

    ROIAlignV2 on a CPU is one weighted lookup in a table, equal to rounding. torchvision's operator
    is for one level, runs on one thread there and reads maps in NCHW order, number by number; in
    the table a pixel's D channels are read, and in the backward pass added to, at once.
    """

    def __init__(
        self, output_size: int, scales: list[float], sampling_ratio: int, pooler_type: str
    ) -> None:
        """As of ROIPooler; ``output_size`` is an int R."""
        super().__init__(output_size, scales, sampling_ratio, pooler_type)
        self.scales, self.resolution, self.sampling_ratio = scales, output_size, sampling_ratio
        # Ratio 0 takes as many samples as a bin has pixels.
        self.can_look_up = pooler_type == "ROIAlignV2" and sampling_ratio > 0

    def prepare(self, features: list[Tensor]) -> PyramidTable | list[Tensor]:
        """What :meth:`forward` takes, from feature maps (N, D, H, W); fine to coarse."""
        # Under autocast Detectron2's ROIAlign would round boxes to the features' 8 or 11 bits.
        features = [feature.float() for feature in features]
        if self.can_look_up and not features[0].is_cuda:
            return PyramidTable(features)
        # ROIAlign reads NCHW; made so here, each map is copied once and not in every stage.
        return [feature.contiguous() for feature in features]

    def forward(self, prepared: PyramidTable | list[Tensor], boxes: Tensor) -> Tensor:
        """Regions (N * P, R * R, D) of boxes (N, P, 4), XYXY in pixels and finite.

        No gradient reaches the boxes.
        """
        if not isinstance(prepared, PyramidTable):
            regions = super().forward(prepared, [Boxes(image_boxes) for image_boxes in boxes])
            return regions.flatten(2).transpose(1, 2)
        regions = prepared.weighted_sums(*self._lookup(prepared, boxes.detach()))
        return regions.view(-1, self.resolution**2, regions.shape[1])

    def _lookup(self, table, boxes):
        """Rows and weights (N * P * R * R, 4 * S * S) for S x S samples in each bin."""
        image = torch.arange(boxes.shape[0], device=boxes.device)
        image = image[:, None].expand(-1, boxes.shape[1]).flatten()
        boxes = boxes.flatten(0, 1)
        level = assign_boxes_to_levels(
            [Boxes(boxes)],
            self.min_level,
            self.max_level,
            self.canonical_box_size,
            self.canonical_level,
        )
        size = table.sizes[level]  # (B, 2)
        first = table.offsets[level] + image * size.prod(1)
        index, weight = self._along_axes(boxes * boxes.new_tensor(self.scales)[level, None], size)
        # (B, R, R, 2 * S, 2 * S): every row of the samples with every column
        rows = index[:, 1, :, None, :, None] * size[:, 0].view(-1, 1, 1, 1, 1)
        rows = rows + index[:, 0, None, :, None, :] + first.view(-1, 1, 1, 1, 1)
        weights = weight[:, 1, :, None, :, None] * weight[:, 0, None, :, None, :]
        return rows.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)

    def _along_axes(self, boxes, size):
        """Pixels and their shares (B, 2, R, 2 * S) in each bin along x and y.

        ``boxes`` (B, 4) and ``size`` (B, 2): in pixels of the box's level.
        """
        count, samples = self.resolution, self.sampling_ratio
        steps = torch.arange(count * samples, device=boxes.device).add(0.5).div(samples)
        start, sides = boxes[:, :2] - 0.5, (boxes[:, 2:] - boxes[:, :2]) / count
        where = start[..., None] + sides[..., None] * steps  # (B, 2, R * S)
        last = size[..., None] - 1
        inside = (where >= -1) & (where <= last + 1)
        where = where.clamp(min=0).minimum(last)
        low = where.long()
        fraction = where - low
        index = torch.stack([low, (low + 1).minimum(last)], dim=-1)
        weight = torch.stack([1 - fraction, fraction], dim=-1) * (inside / samples)[..., None]
        shape = (boxes.shape[0], 2, count, 2 * samples)
        return index.view(shape), weight.view(shape)
