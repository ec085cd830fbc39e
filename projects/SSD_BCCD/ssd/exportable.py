"""SSD as ``torch.export`` can trace it: post-processing on whole tensors of fixed rank."""

import torch
from torch.nn import functional as F

from bccd.export.detector import NO_DETECTION, ExportableDetector, clip, exportable
from bccd.export.suppression import suppress
from bccd.projects.ssd.detector import SSD


class ExportableSSD(ExportableDetector):
    """:class:`SSD`; detections equal those of its ``forward_inference``."""

    int8_modules = ("model.backbone", "model.head")

    def __init__(self, model):
        super().__init__(
            model,
            score_threshold=model.score_threshold,
            max_detections=model.max_detections,
        )

    def detect(self, images, sizes):
        """See :class:`ExportableDetector`."""
        model = self.model
        maps = model.backbone(images)
        features = [maps[name] for name in model.head_in_features]
        logits, deltas = model._transpose_dense_predictions(
            model.head(features), [model.criterion.num_scores(model.num_classes), 4]
        )
        levels = zip(logits, deltas, model.anchor_generator(features), strict=True)
        found = [self._decode(*level) for level in levels]
        boxes, scores, classes = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        valid = boxes.isfinite().all(-1)
        scores = suppress(
            clip(boxes, sizes).where(valid[..., None], 0.0),
            scores.where(valid, NO_DETECTION),
            classes,
            model.num_classes,
            model.nms_threshold,
            self.score_threshold,
        )
        scores, index = scores.topk(self.max_detections)
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return boxes, scores, classes.gather(1, index)

    def _decode(self, logits, deltas, anchors):
        """The best candidates (N, C, ...) of a feature map: boxes, scores and classes."""
        model, count = self.model, self.model.topk_candidates
        # Padding makes C the same for any size of image.
        scores = F.pad(model.criterion.scores(logits).flatten(1), (0, count), value=NO_DETECTION)
        scores, index = scores.topk(count)
        place = index.div(model.num_classes, rounding_mode="floor").clamp(max=deltas.shape[1] - 1)
        deltas = deltas.gather(1, place[..., None].expand(-1, -1, 4))
        boxes = model.box2box_transform.apply_deltas(
            deltas.flatten(0, 1), anchors.tensor[place.flatten()]
        )
        return boxes.view_as(deltas), scores, index % model.num_classes


exportable.register(SSD, ExportableSSD)
