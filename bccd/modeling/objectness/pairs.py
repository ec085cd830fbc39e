"""Anchors and their ground truth, as losses of an objectness compare them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.losses import iou, is_class
from bccd.modeling.missing_labels import MissingLabels
from bccd.modeling.precision import full_precision

Decode = Callable[[Tensor, Tensor, float], Tensor]


@dataclass
class CellTargets:
    """T pairs of an anchor of one feature map and a ground truth; an anchor may be in several.

    Attributes:
        images, anchors: (T,) int64, image in the batch and row of the map's anchors.
        boxes: (T, 4) XYXY in pixels, ground truth.
        classes: (T,) int64.
    """

    images: Tensor
    anchors: Tensor
    boxes: Tensor
    classes: Tensor


def joint_scores(logits: Tensor) -> Tensor:
    """Scores (..., K) of class outputs (..., 1 + K); of one class, objectness alone."""
    probabilities = full_precision(logits).sigmoid()
    objectness, classes = probabilities[..., :1], probabilities[..., 1:]
    return objectness if classes.shape[-1] == 1 else objectness * classes


def join_images(
    matches: Sequence[Sequence[tuple[Tensor, ...]]], device: torch.device
) -> list[CellTargets]:
    """Targets of each feature map in a batch, on ``device``.

    Args:
        matches: for each image and in it for each feature map, the fields of ``CellTargets``.
        device: of the results.
    """
    return [
        CellTargets(*(torch.cat(parts).to(device) for parts in zip(*of_level, strict=True)))
        for of_level in zip(*matches, strict=True)
    ]


def join_maps(
    levels: Sequence[CellTargets], totals: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Images (T,), anchors (T,) of all feature maps and boxes (T, 4) of the targets of each map.

    Args:
        levels: of each feature map.
        totals: anchors of each feature map.
    """
    starts = [0, *accumulate(totals)][:-1]
    return (
        torch.cat([level.images for level in levels]),
        torch.cat([level.anchors + start for level, start in zip(levels, starts, strict=True)]),
        torch.cat([level.boxes for level in levels]),
    )


def largest_overlaps(
    predictions: DensePredictions, boxes: Tensor, truths: Sequence[Instances]
) -> tuple[Tensor, ...]:
    """The largest IoU of each predicted box with ground truth, for each feature map (N, A_l).

    Args:
        predictions: of the batch.
        boxes: (N, A, 4) XYXY in pixels, decoded from them.
        truths: of the images; without a box, the IoU is 0.
    """
    overlaps = [
        iou(of_image[:, None], truth.gt_boxes.tensor.to(boxes.device))
        for of_image, truth in zip(boxes, truths, strict=True)
    ]
    # The column that is appended is for images without a box.
    largest = [F.pad(overlap, (0, 1)).amax(dim=1) for overlap in overlaps]
    return torch.stack(largest).split([x.shape[1] for x in predictions.logits], dim=1)


@dataclass
class Pairs:
    """What the losses of a feature map compare, at its T pairs.

    Attributes:
        class_logits: (T, K).
        outputs: (T, B), box outputs.
        boxes: (T, 4) predicted, as all boxes here XYXY in strides, from the anchor's centre.
        anchors, targets: (T, 4), anchor boxes and ground truth.
        positive: (T, K) bool, the class of the ground truth.
    """

    class_logits: Tensor
    outputs: Tensor
    boxes: Tensor
    anchors: Tensor
    targets: Tensor
    positive: Tensor


class ObjectnessLoss(nn.Module):
    """Base of the losses: the pairs, and what is left out because its label may be missing."""

    def __init__(self, decode: Decode, missing_labels: MissingLabels) -> None:
        super().__init__()
        self.decode = decode
        self.missing_labels = missing_labels

    def pairs(
        self, predictions: DensePredictions, targets: Sequence[CellTargets]
    ) -> Iterator[Pairs]:
        """The pairs of each feature map."""
        levels = zip(
            *(predictions.logits, predictions.boxes, predictions.anchors, predictions.strides),
            targets,
            strict=True,
        )
        for logits, outputs, anchors, stride, target in levels:
            index = target.images, target.anchors
            outputs, class_logits = full_precision(outputs[index]), full_precision(logits[index])
            anchors = anchors.tensor[target.anchors].to(outputs.dtype)
            # Around 0, where single precision is finer than at the far side of an image.
            centres = ((anchors[:, :2] + anchors[:, 2:]) / 2).repeat(1, 2)
            boxes = target.boxes.to(outputs.dtype)
            anchors, boxes = (anchors - centres) / stride, (boxes - centres) / stride
            yield Pairs(
                class_logits=class_logits[:, 1:],
                outputs=outputs,
                boxes=self.decode(outputs, anchors, 1.0),
                anchors=anchors,
                targets=boxes,
                positive=is_class(target.classes, logits.shape[-1] - 1),
            )

    def missing(
        self,
        logits: Tensor,
        target: CellTargets,
        unlabelled: Tensor | None,
        overlap: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Objectness (N, A_l) and classes of the pairs (T, K) that are left out; None: nothing is.

        Where one class may be there without a label, so may an object.
        """
        if unlabelled is None and not self.missing_labels.uses_overlap:
            return None, None
        index, scores = (target.images, target.anchors), joint_scores(logits)
        positive = torch.zeros_like(scores, dtype=torch.bool)
        positive[(*index, target.classes)] = True
        missing = self.missing_labels(torch.logit(scores), positive, unlabelled, overlap)
        return missing.any(dim=-1) & ~positive.any(dim=-1), missing[index]


def last_of_each(target: CellTargets, values: Tensor, logits: Tensor) -> Tensor:
    """(N, A_l): of ``values`` (T,), that of the last pair of each anchor; 0 where there is none."""
    count, anchors = logits.shape[:2]
    place = target.images * anchors + target.anchors
    # Assigning by index would leave open which of several pairs of an anchor is written last.
    order = torch.arange(len(place), device=place.device)
    last = torch.full((count * anchors,), -1, device=place.device)
    last = last.scatter_reduce(0, place, order, "amax")
    values = F.pad(values, (1, 0))
    return values[last + 1].view(count, anchors)
