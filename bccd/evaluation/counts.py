"""Counts of cells per image and class, and their errors."""

from dataclasses import dataclass

import numpy as np

from bccd.evaluation.coco import class_names
from bccd.evaluation.operating_point import keep_above


@dataclass(frozen=True)
class Counts:
    """Cells per image (N) and class (K).

    Attributes:
        image_ids: N ids, rising.
        class_names: K names.
        true: (N, K) annotated boxes, without crowd boxes.
        predicted: (N, K) detections at the operating point.
    """

    image_ids: list
    class_names: list
    true: np.ndarray
    predicted: np.ndarray


def count_cells(coco_gt: dict, detections: list[dict], thresholds: dict[str, float]) -> Counts:
    """Count the annotated and the detected cells of each image.

    Args:
        coco_gt: COCO ground truth as a dict.
        detections: list of COCO results.
        thresholds: {class name: score threshold}; a detection counts from there on.

    Returns:
        Counts.
    """
    image_ids = sorted(image["id"] for image in coco_gt["images"])
    category_ids = sorted(category["id"] for category in coco_gt["categories"])
    rows = {image_id: n for n, image_id in enumerate(image_ids)}
    columns = {category_id: k for k, category_id in enumerate(category_ids)}

    def tally(boxes):
        table = np.zeros((len(image_ids), len(category_ids)), dtype=np.int64)
        for box in boxes:
            table[rows[box["image_id"]], columns[box["category_id"]]] += 1
        return table

    return Counts(
        image_ids=image_ids,
        class_names=class_names(coco_gt),
        true=tally(a for a in coco_gt["annotations"] if not a.get("iscrowd", 0)),
        predicted=tally(keep_above(coco_gt, detections, thresholds)),
    )


def count_errors(counts: Counts) -> dict[str, np.ndarray]:
    """The error of each image and class, one array per measure.

    Args:
        counts: Counts.

    Returns:
        {"MAE": absolute error, "bias": predicted - true, "exact": 1 where they agree}, each an
        (N, K) float array whose mean over the images is the measure of that name.
    """
    error = (counts.predicted - counts.true).astype(np.float64)
    return {"MAE": np.abs(error), "bias": error, "exact": (error == 0).astype(np.float64)}


def summarise_counts(counts: Counts, weights: np.ndarray | None = None) -> dict:
    """MAE, bias and share of exact images.

    Args:
        counts: Counts of N images.
        weights: (S, N) how often each image is drawn in each of S resamplings; None: once each.

    Returns:
        {"MAE", "bias", "exact"} and "MAE-<class>" and so on, each an array (S,), S = 1 without
        weights. The overall MAE and bias, in cells per image, are means over the classes, as in
        AP; the overall "exact" is the share of images in which every class is exact.
    """
    num_images = len(counts.image_ids)
    weights = np.ones((1, num_images)) if weights is None else weights
    errors = count_errors(counts)
    summary = {}
    for measure, values in errors.items():
        overall = values.min(axis=1) if measure == "exact" else values.mean(axis=1)
        summary[measure] = weights @ overall / num_images
        for k, name in enumerate(counts.class_names):
            summary[f"{measure}-{name}"] = weights @ values[:, k] / num_images
    return summary
