"""Sparse R-CNN as ``torch.export`` can trace it: no loop over images, no choice by data."""

from torch import Tensor, nn

from bccd.export.detector import NO_DETECTION, ExportableDetector


class ExportableSparseRCNN(ExportableDetector):
    """``SparseRCNN``; detections equal those of its ``forward``."""

    def __init__(self, model: nn.Module) -> None:
        """Raises ValueError where regions are pooled as the traced operators cannot."""
        if not model.head.pooler.can_look_up:
            raise ValueError(
                "MODEL.ROI_BOX_HEAD: only POOLER_TYPE ROIAlignV2 with a POOLER_SAMPLING_RATIO "
                "above 0 can be exported"
            )
        super().__init__(
            model,
            score_threshold=model.score_thresh,
            max_detections=min(model.max_detections, model.num_proposals),
        )

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`ExportableDetector`."""
        model = self.model
        maps = model.backbone(images)
        if model.dense_proposals:
            dense = model.dense_head([maps[name] for name in model.dense_in_features])
            boxes, proposals = model.best_of_dense(*dense)
        else:
            boxes, proposals = model.learnt_proposals(sizes)
        features = [maps[name] for name in model.in_features]
        logits, boxes = model.head(features, boxes, proposals)
        scores, boxes, classes = model.best(logits[-1], boxes[-1])
        return boxes, scores.where(scores >= self.score_threshold, NO_DETECTION), classes
