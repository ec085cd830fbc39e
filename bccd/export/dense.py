"""Dense detectors as ``torch.export`` can trace them: post-processing on whole tensors."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from bccd.export.detector import NO_DETECTION, ExportableDetector, clip
from bccd.export.suppression import suppress
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_predictions import decode_batch


class ExportableDenseDetector(ExportableDetector):
    """A ``SingleStageDetector``; detections equal those of its ``forward_inference``.

    It serves any subclass whose ``head``, ``scores`` and ``decode`` can be traced.
    """

    int8_modules = ("model.backbone", "model.head")

    def __init__(self, model: SingleStageDetector) -> None:
        super().__init__(
            model, score_threshold=model.score_threshold, max_detections=model.max_detections
        )

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`ExportableDetector`."""
        model = self.model
        maps = model.backbone(images)
        features = [maps[name] for name in model.head_in_features]
        predictions = model.dense_predictions(features, model.head(features))
        levels = zip(
            *(predictions.logits, predictions.boxes, predictions.anchors, predictions.strides),
            strict=True,
        )
        found = [self._candidates(*level) for level in levels]
        boxes, scores, classes = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        valid = boxes.isfinite().all(-1)
        scores = suppress(
            clip(boxes, sizes).where(valid[..., None], 0.0),
            scores.where(valid, NO_DETECTION),
            torch.zeros_like(classes) if model.class_agnostic_nms else classes,
            1 if model.class_agnostic_nms else model.num_classes,
            model.nms_threshold,
            self.score_threshold,
        )
        scores, index = scores.topk(self.max_detections)
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return boxes, scores, classes.gather(1, index)

    def _candidates(self, logits, outputs, anchors, stride):
        """The best candidates (N, C, ...) of a feature map: boxes, scores and classes."""
        model, count = self.model, self.model.topk_candidates
        # Padding makes C the same for any size of image.
        scores = F.pad(model.scores(logits).flatten(1), (0, count), value=NO_DETECTION)
        scores, index = scores.topk(count)
        place = index.div(model.num_classes, rounding_mode="floor").clamp(max=outputs.shape[1] - 1)
        outputs = outputs.gather(1, place[..., None].expand(-1, -1, model.box_outputs))
        decode = partial(model.decode, stride=stride)
        boxes = decode_batch(decode, outputs, anchors.tensor[place])
        return boxes, scores, index % model.num_classes
