"""The detections of several systems as one: what an ensemble of all of them would reach."""

from collections.abc import Sequence

import torch

from bccd.modeling.box_fusion import weighted_box_fusion

IOU = 0.55  # as of test-time augmentation: TEST.AUG.MERGE_IOU


def fuse_detections(systems: Sequence[list[dict]], iou: float = IOU) -> list[dict]:
    """Weighted box fusion of what several systems found in the same images.

    Args:
        systems: COCO results of each; all count alike, with their scores as they are.
        iou: from which boxes of a class are the same cell.

    Returns:
        COCO results.
    """
    by_image = {}
    for number, detections in enumerate(systems):
        for found in detections:
            by_image.setdefault(found["image_id"], []).append((number, found))
    return [
        fused
        for image_id in sorted(by_image)
        for fused in _fuse_image(image_id, by_image[image_id], len(systems), iou)
    ]


def _fuse_image(image_id, found, num_systems, iou):
    numbers = torch.tensor([number for number, _ in found])
    corners = torch.tensor([d["bbox"] for _, d in found])
    corners[:, 2:] += corners[:, :2]
    scores = torch.tensor([d["score"] for _, d in found])
    classes = torch.tensor([d["category_id"] for _, d in found])
    boxes, scores, classes = weighted_box_fusion(
        corners, scores, classes, numbers, num_views=num_systems, iou_threshold=iou
    )
    boxes[:, 2:] -= boxes[:, :2]
    for box, score, category in zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True):
        yield {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
