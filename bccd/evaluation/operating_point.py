"""The operating point: one score threshold per class, from which a detection counts as a cell."""

import logging
from collections.abc import Sequence

import numpy as np

from bccd.data.classes import find_class
from bccd.detections import DEFAULT_THRESHOLD
from bccd.evaluation.coco import match_boxes

_logger = logging.getLogger(__name__)


def choose_operating_points(
    coco_gt: dict, detections: list[dict], iou: float = 0.5
) -> dict[str, dict]:
    """The score threshold of each class with the highest F1 = 2 TP / (2 TP + FP + FN).

    The threshold lies halfway between the lowest score that is kept and the next lower one, so that
    rounding on another device does not move a detection across it. If all scores are kept, it is
    the lowest score. Equal scores are kept or dropped together. Of several thresholds with the same
    F1, the highest is chosen. A class without ground truth, or without a correct detection, gets
    DEFAULT_THRESHOLD and a warning.

    Args:
        coco_gt: COCO ground truth as a dict, of the validation images.
        detections: list of COCO results.
        iou: the IoU from which a detection counts as correct.

    Returns:
        {class name: {"threshold", "precision", "recall", "f1"}}; None where there is nothing to
        divide by.
    """
    points = {}
    for matches in match_boxes(coco_gt, detections, iou):
        threshold = _best_threshold(matches)
        if threshold is None:
            threshold = DEFAULT_THRESHOLD
            _logger.warning(
                f"{matches.name}: no correct detection of {matches.positives.sum()} annotated; "
                f"the score threshold is the default {DEFAULT_THRESHOLD}"
            )
        points[matches.name] = _measure(matches, threshold)
    return points


def measure_operating_points(
    coco_gt: dict, detections: list[dict], thresholds: dict[str, float], iou: float = 0.5
) -> dict[str, dict]:
    """Precision, recall and F1 at given thresholds.

    Args:
        coco_gt: COCO ground truth as a dict.
        detections: list of COCO results.
        thresholds: {class name: score threshold}.
        iou: the IoU from which a detection counts as correct.

    Returns:
        The same as :func:`choose_operating_points`.
    """
    return {
        matches.name: _measure(matches, thresholds[matches.name])
        for matches in match_boxes(coco_gt, detections, iou)
    }


def thresholds(points: dict[str, dict]) -> dict[str, float]:
    """{class name: score threshold} of the points that choose_operating_points returned."""
    return {name: float(point["threshold"]) for name, point in points.items()}


def configured_thresholds(
    values: Sequence[float], class_names: Sequence[str], key: str = "TEST.OPERATING_POINTS"
) -> dict[str, float] | None:
    """{class name: score threshold} of a config key; None where it is empty.

    Args:
        values: of the key.
        class_names: of the model.
        key: for messages.

    Raises:
        ValueError: not one number from 0 to 1 for each of the classes.
    """
    if isinstance(values, list | tuple) and not values:
        return None
    wanted = f"one score from 0 to 1 for each of {', '.join(class_names)}, in this order, or ()"
    if not isinstance(values, list | tuple) or len(values) != len(class_names):
        raise ValueError(f"{key} is {values!r}; expected {wanted}")
    for name, value in zip(class_names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{key} has {value!r} for {name}; expected {wanted}")
    return dict(zip(class_names, map(float, values), strict=True))


def match_thresholds(
    points: dict[str, float], class_names: Sequence[str], source: str
) -> dict[str, float]:
    """Thresholds in the order and the spelling of a model's classes.

    Args:
        points: {class name: score threshold}.
        class_names: of the model.
        source: what ``points`` come from, for the message.

    Raises:
        ValueError: they are for other classes.
    """
    by_class = {find_class(name, class_names): value for name, value in points.items()}
    if set(by_class) != set(range(len(class_names))):
        raise ValueError(
            f"{source} has operating points for {', '.join(points)}; expected "
            f"{', '.join(class_names)}: it was made for other classes"
        )
    return {name: by_class[k] for k, name in enumerate(class_names)}


def keep_above(coco_gt: dict, detections: list[dict], thresholds: dict[str, float]) -> list[dict]:
    """The detections whose score reaches the threshold of their class.

    Args:
        coco_gt: COCO ground truth as a dict, which names the category ids.
        detections: list of COCO results.
        thresholds: {class name: score threshold}.
    """
    by_id = {c["id"]: thresholds[c["name"]] for c in coco_gt["categories"]}
    return [d for d in detections if d["score"] >= by_id[d["category_id"]]]


def _best_threshold(matches):
    score, num_positives = matches.score, matches.positives.sum()
    true_positives = np.cumsum(matches.correct[0])
    if true_positives.size == 0 or true_positives[-1] == 0:
        return None
    false_positives = np.cumsum(matches.wrong[0])
    f1 = 2 * true_positives / (true_positives + false_positives + num_positives)
    # A cut is possible only after the last of several equal scores.
    cuts = np.flatnonzero(np.append(score[1:] < score[:-1], True))
    best = cuts[np.argmax(f1[cuts])]
    if best == len(score) - 1:
        return float(score[best])
    middle = (score[best] + score[best + 1]) / 2
    # Between neighbouring floats there is no middle.
    return float(middle if middle > score[best + 1] else score[best])


def _measure(matches, threshold):
    kept = matches.score >= threshold
    correct = int(matches.correct[0, kept].sum())
    detected = correct + int(matches.wrong[0, kept].sum())
    positives = int(matches.positives.sum())
    return {
        "threshold": float(threshold),
        "precision": correct / detected if detected else None,
        "recall": correct / positives if positives else None,
        "f1": 2 * correct / (detected + positives) if positives else None,
    }
