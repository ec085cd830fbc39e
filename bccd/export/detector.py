"""A detector as a function of one tensor: what ``torch.export`` can trace."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.capabilities import load_offered

MAX_SIDE, MAX_BATCH = 4096, 256  # what exported files are traced for
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

    def __init__(self, model: nn.Module, *, score_threshold: float, max_detections: int) -> None:
        super().__init__()
        self.model = model.eval()
        self.score_threshold = score_threshold
        self.max_detections = max_detections

    @property
    def size_divisibility(self) -> int:
        """Of what the height and width of padded images are multiples."""
        return max(self.model.backbone.size_divisibility, 1)

    @property
    def min_side(self) -> int:
        """The least height and width of images that exported files are traced for.

        Gives every map of the backbone two cells: the trace of one would hold for one alone.
        """
        return 1 + max(shape.stride for shape in self.model.backbone.output_shape().values())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect.

        Args:
            images: (N, H, W, 3) uint8, resized as for testing, channels in INPUT.FORMAT
                order; not normalised, not padded.

        Returns:
            boxes (N, D, 4) float32, XYXY in pixels of ``images``; scores (N, D) float32; classes
            (N, D) int64. Best score first; rows with the score -1 are no detections.
        """
        count, height, width = images.shape[:3]
        sizes = [images.new_full((count,), x, dtype=torch.float32) for x in (height, width)]
        side = self.size_divisibility
        # Not `-height % side`, which torch.export cannot solve for any height.
        down = (height + side - 1) // side * side - height
        right = (width + side - 1) // side * side - width
        padded = F.pad(self._normalise(images), (0, right, 0, down))
        return self._detections(padded, torch.stack(sizes, dim=1))

    def forward_padded(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`forward`, of images that differ in size or that were padded by the caller.

        Args:
            images: (N, H, W, 3) uint8, H and W multiples of ``size_divisibility``.
            sizes: (N, 2) height and width of what is no padding, from the upper left.
        """
        images, sizes = self._normalise(images), sizes.float()
        rows, columns = (torch.arange(x, device=images.device) for x in images.shape[2:])
        inside = (rows[:, None] < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None])
        return self._detections(images * inside[:, None], sizes)

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`forward`, of normalised and padded images (N, 3, H', W') and their sizes.

        Abstract: each project's exportable form overrides it.
        """
        raise NotImplementedError

    def _normalise(self, images):
        # The memory of (N, H, W, 3) is that of channels_last: nothing is copied.
        return (images.permute(0, 3, 1, 2) - self.model.pixel_mean) / self.model.pixel_std

    def _detections(self, images, sizes):
        boxes, scores, classes = self.detect(images, sizes)
        boxes = clip(boxes, sizes)
        x1, y1, x2, y2 = boxes.unbind(-1)
        return boxes, scores.where((x2 > x1) & (y2 > y1), NO_DETECTION), classes


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, D, 4), XYXY, cut to images of the sizes (N, 2), height and width."""
    return boxes.clamp(min=0).minimum(sizes.flip(1).repeat(1, 2)[:, None])


def is_exportable(model: nn.Module) -> bool:
    """Whether ``model`` names its exportable form, see ``bccd.modeling.capabilities``."""
    return load_offered(model, "exportable_form") is not None


def exportable(model: nn.Module) -> ExportableDetector:
    """The exportable form of ``model``.

    Raises:
        ValueError: it has none, or is configured as none can be.
    """
    form = load_offered(model, "exportable_form")
    if form is None:
        raise ValueError(
            f"{type(model).__name__} cannot be exported: it has no exportable_form, see "
            "docs/adding_a_detector.md"
        )
    return form(model)
