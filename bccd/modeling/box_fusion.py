"""Merging the detections that several views of one image give."""

import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, pairwise_iou
from torch import Tensor


def weighted_box_fusion(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    views: Tensor,
    *,
    num_views: int,
    iou_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fuse the boxes that overlap within a class (arXiv 1910.13302, section 3).

    Clusters form around the boxes that NMS keeps, all at once, where the paper goes box by box. In
    each cluster a view counts once, with its best box: a second box of the same object in one view,
    which detectors without NMS give, neither counts as agreement nor lowers the score. That is why
    this is not ``ensemble-boxes``, which also goes box by box in Python, on the host, with
    coordinates relative to the image.

    Args:
        boxes: (M, 4) XYXY, the views one after another, in the same image.
        scores: (M,), at least 0.
        classes: (M,) int64.
        views: (M,) int64, the view of each box, below ``num_views``.
        num_views: V, including those that found nothing.
        iou_threshold: IoU from which boxes are the same object.

    Returns:
        (boxes, scores, classes) of the clusters, best score first: the mean box weighted by score,
        and the mean score over all V views, of which one without a box counts as 0.
    """
    if not len(boxes):
        return boxes, scores, classes
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, classes, views = boxes[order], scores[order], classes[order], views[order]
    seeds = batched_nms(boxes, scores, classes, iou_threshold)
    overlap = pairwise_iou(Boxes(boxes), Boxes(boxes[seeds]))
    overlap[classes[:, None] != classes[seeds]] = -1
    cluster = overlap.argmax(dim=1)

    votes = _first_of_each(cluster * num_views + views, len(seeds) * num_views)
    cluster = cluster[votes]
    weights = scores[votes].clamp(min=torch.finfo(scores.dtype).eps ** 2)
    totals = weights.new_zeros(len(seeds)).index_add(0, cluster, weights)
    sums = boxes.new_zeros(len(seeds), 4).index_add(0, cluster, boxes[votes] * weights[:, None])
    fused, order = (totals / num_views).sort(descending=True, stable=True)
    return (sums / totals[:, None])[order], fused, classes[seeds][order]


def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    views: Tensor,
    *,
    num_views: int,
    iou_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the best box of those that overlap within a class, as Detectron2's own views do.

    Arguments and results are those of :func:`weighted_box_fusion`; boxes and scores are not
    changed, and ``views`` and ``num_views`` do not matter.
    """
    keep = batched_nms(boxes, scores, classes, iou_threshold)
    return boxes[keep], scores[keep], classes[keep]


def _first_of_each(keys, count):
    """Index of the first occurrence of each key that occurs in (M,) ``keys``, below ``count``."""
    index = torch.arange(len(keys), device=keys.device)
    first = index.new_full((count,), len(keys)).scatter_reduce(0, keys, index, "amin")
    return first[first < len(keys)]
