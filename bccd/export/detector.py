"""A detector as a function of one tensor: what ``torch.export`` can trace."""

from functools import singledispatch

import torch
from torch import nn
from torch.nn import functional as F

NO_DETECTION = -1.0  # score of the rows of an image that has fewer detections than the most it can


class ExportableDetector(nn.Module):
    """Base of the detectors' exportable forms; weights are shared with ``model``.

    Attributes:
        score_threshold (float): detections below are not given.
        max_detections (int): D, rows of an image.
        int8_modules (tuple[str]): names of the modules whose convolutions :mod:`bccd.export.int8`
            may quantize.
    """

    int8_modules = ("model.backbone",)

    def __init__(self, model, *, score_threshold, max_detections):
        super().__init__()
        self.model = model.eval()
        self.score_threshold = score_threshold
        self.max_detections = max_detections

    def forward(self, images):
        """Detect.

        Args:
            images (Tensor): (N, H, W, 3) uint8, resized as for testing, channels in INPUT.FORMAT
                order; not normalised, not padded.

        Returns:
            boxes (N, D, 4) float32, XYXY in pixels of ``images``; scores (N, D) float32; classes
            (N, D) int64. Best score first; rows with the score -1 are no detections.
        """
        height, width = images.shape[1:3]
        boxes, scores, classes = self.detect(self._preprocess(images), height, width)
        boxes = clip(boxes, height, width)
        x1, y1, x2, y2 = boxes.unbind(-1)
        scores = scores.where((x2 > x1) & (y2 > y1), NO_DETECTION)
        return boxes, scores, classes

    def detect(self, images, height, width):
        """As :meth:`forward`, of normalised and padded images (N, 3, H', W')."""
        raise NotImplementedError

    def _preprocess(self, images):
        height, width = images.shape[1:3]
        # The memory of (N, H, W, 3) is that of channels_last: nothing is copied.
        images = (images.permute(0, 3, 1, 2) - self.model.pixel_mean) / self.model.pixel_std
        side = max(self.model.backbone.size_divisibility, 1)
        # Not `-height % side`, which torch.export cannot solve for any height.
        down = (height + side - 1) // side * side - height
        right = (width + side - 1) // side * side - width
        return F.pad(images, (0, right, 0, down))


def clip(boxes, height, width):
    """Boxes (..., 4), XYXY, cut to an image of that size."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)
    return torch.stack(corners, dim=-1)


@singledispatch
def exportable(model):
    """The :class:`ExportableDetector` of ``model``; projects register theirs by its class.

    Raises:
        ValueError: there is none.
    """
    raise ValueError(
        f"{type(model).__name__} cannot be exported: its project registers no ExportableDetector"
    )
