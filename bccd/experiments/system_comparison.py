"""Accuracy of several systems on the same images, and how much they differ."""

from collections.abc import Mapping

from bccd.evaluation.bootstrap import (
    bootstrap_ap,
    bootstrap_counts,
    bootstrap_differences,
    draw_weights,
)
from bccd.evaluation.coco import CocoResult, evaluate_boxes
from bccd.evaluation.counts import summarise_counts
from bccd.evaluation.error_analysis import IOUS, ap_gains
from bccd.experiments.system_fusion import IOU, fuse_detections
from bccd.experiments.systems import Kept

SAMPLES = 1000
COMPARED = ("AP", "AP75")
FUSED = "fused"  # beside the rows
_METRICS = ("AP", "AP50", "AP75")


def compare_systems(kept: Mapping[str, Kept], samples: int = SAMPLES, fuse: bool = True) -> dict:
    """Everything that is measured on one set of images.

    Args:
        kept: {row: Kept}, all on the same images.
        samples: resamplings of the images.
        fuse: also measure all of them by weighted box fusion, as FUSED, where there are several.

    Returns:
        dict: ``images``, ``systems``: {row: see :func:`_measure`}, and ``differences`` of
        :func:`bootstrap_differences` in percent, between the rows.

    Raises:
        ValueError: two of them were evaluated on different images.
    """
    some = next(iter(kept.values()))
    weights = draw_weights(len(some.counts.image_ids), samples)
    results = {name: evaluate_boxes(each.truth, each.detections) for name, each in kept.items()}
    differences = bootstrap_differences(
        {name: result.matches for name, result in results.items()}, weights, COMPARED
    )
    systems = {name: _measure(each, results[name], weights) for name, each in kept.items()}
    if fuse and len(kept) > 1:
        fused = fuse_detections([each.detections for each in kept.values()])
        result = evaluate_boxes(some.truth, fused)
        name = f"all {len(kept)}, fused"
        systems[FUSED] = {"name": name, "iou": IOU, **_accuracy(result, weights)}
    return {
        "images": len(some.counts.image_ids),
        "bootstrap_samples": samples,
        "systems": systems,
        "differences": _in_percent(differences),
    }


def _measure(kept, result, weights):
    """``name``, ``minutes``, and ``bbox``, ``count``, ``intervals`` as an evaluation has them."""
    accuracy = _accuracy(result, weights)
    count = {key: float(value[0]) for key, value in summarise_counts(kept.counts).items()}
    accuracy["intervals"]["count"] = bootstrap_counts(kept.counts, weights)
    return {"name": kept.name, "minutes": kept.minutes, **accuracy, "count": count}


def _accuracy(result: CocoResult, weights):
    values = {metric: result.metrics[metric] for metric in _METRICS}
    for name, metrics in result.per_class.items():
        values |= {f"{metric}-{name}": metrics[metric] for metric in _METRICS}
    intervals = bootstrap_ap(result.matches, weights)
    return {"bbox": _in_percent(values), "intervals": {"bbox": _in_percent(intervals)}}


def compare_errors(kept: Mapping[str, Kept]) -> dict:
    """AP of each system and what it would gain if one kind of error were fixed.

    Returns:
        {row: {"name", "by_iou": {IoU: see :func:`ap_gains`}}}.
    """
    return {
        name: {
            "name": each.name,
            "by_iou": {f"{iou:g}": ap_gains(each.truth, each.detections, iou) for iou in IOUS},
        }
        for name, each in kept.items()
    }


def compare_losses(
    own: Mapping[str, Kept], others: Mapping[str, Kept], samples: int = SAMPLES
) -> dict:
    """Each system with its own losses and with others, on the same images.

    Args:
        own, others: {row: Kept}; rows that only one of them has are left out.
        samples: resamplings of the images.

    Returns:
        {row: :func:`compare_systems` of "own" and "other"}.
    """
    pairs = {name: {"own": own[name], "other": others[name]} for name in own if name in others}
    return {name: compare_systems(pair, samples, fuse=False) for name, pair in pairs.items()}


def _in_percent(values):
    """Fractions in nested dicts and tuples, times 100."""
    if isinstance(values, dict):
        return {key: _in_percent(value) for key, value in values.items()}
    if isinstance(values, tuple):
        return [_in_percent(value) for value in values]
    return None if values is None else 100 * values
