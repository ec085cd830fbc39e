"""Where a detector learns which ground truth, for those who want to see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor


@dataclass
class LearningPlaces:
    """T pairs of a place and a ground truth of one image; a place or a truth may be in several.

    A place is an anchor, a cell of a feature map or a proposal.

    Attributes:
        groups: names of the groups of places, such as "stride 8".
        totals: places of each group in the image.
        group: (T,) int64, the group of each pair.
        points: (T, 2) x and y of the place, in pixels of the network's input.
        truths: (T,) int64, index of the ground truth in the image's ``instances``.
        boxes: (T, 4) XYXY, what a place predicts at this moment, where that says more than its
            point; else None.
        idle: (I, 2) x and y of places that learn that there is nothing, where they are few.
    """

    groups: Sequence[str]
    totals: Sequence[int]
    group: Tensor
    points: Tensor
    truths: Tensor
    boxes: Tensor | None = None
    idle: Tensor = field(default_factory=lambda: torch.empty(0, 2))


def places_of_anchors(
    all_anchors: Sequence[Boxes],
    strides: Sequence[float],
    images: Tensor,
    anchors: Tensor,
    boxes: Tensor,
    instances: Sequence[Instances],
) -> list[LearningPlaces]:
    """Places of each image, from what an assignment of a dense detector chose.

    Args:
        all_anchors: of each feature map.
        strides: of each feature map, in pixels.
        images, anchors: (T,) int64, image of each pair and index into the anchors of all maps.
        boxes: (T, 4) XYXY in pixels, the ground truth of each pair.
        instances: of the images, with ``gt_boxes``.
    """
    totals = [len(of_level) for of_level in all_anchors]
    centres = Boxes.cat(list(all_anchors)).get_centers().cpu()
    level = torch.arange(len(totals)).repeat_interleave(torch.tensor(totals))
    images, anchors, boxes = images.cpu(), anchors.cpu(), boxes.cpu().float()
    found = []
    for number, truth in enumerate(instances):
        chosen = images == number
        # By distance: an assignment may hold the boxes in strides, which rounds them.
        distances = torch.cdist(boxes[chosen], truth.gt_boxes.tensor.float().cpu(), p=1)
        index = anchors[chosen]
        found.append(
            LearningPlaces(
                [f"stride {stride}" for stride in strides],
                totals,
                level[index],
                centres[index],
                distances.argmin(dim=1) if len(index) else index,
            )
        )
    return found
