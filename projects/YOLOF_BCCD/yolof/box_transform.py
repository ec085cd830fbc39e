"""R-CNN's box deltas with a centre that stays near its anchor."""

from collections.abc import Sequence

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from torch import Tensor

from bccd.modeling.precision import full_precision


class CentreClampedBox2BoxTransform(Box2BoxTransform):
    """Detectron2's ``Box2BoxTransform``; a box moves from its anchor by some pixels at most.

    A delta that is clamped gets no gradient.
    """

    def __init__(self, weights: Sequence[float], centre_clamp: float) -> None:
        """
        Args:
            weights: factors of (dx, dy, dw, dh).
            centre_clamp: of the distance of the centres in x and in y, in pixels.
        """
        super().__init__(weights)
        self.centre_clamp = centre_clamp

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (M, 4) of ``deltas`` (M, 4) from ``boxes`` (M, 4), XYXY in pixels.

        As exact as the deltas are, and at least float32; Detectron2's are float32 alone.
        """
        deltas = full_precision(deltas)
        start, end = boxes.to(deltas.dtype).split(2, dim=1)
        sides, centres = end - start, (start + end) / 2
        weights = deltas.new_tensor(self.weights)
        shift, log_scale = (deltas / weights).split(2, dim=1)
        limit = self.centre_clamp
        centres = centres + (shift * sides).clamp(min=-limit, max=limit)
        half = sides * log_scale.clamp(max=self.scale_clamp).exp() / 2
        return torch.cat([centres - half, centres + half], dim=1)
