"""The precision-recall curve and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from hotcoco import COCO, COCOeval

from bccd.evaluation.coco import IOU_THRESHOLDS, RECALL_THRESHOLDS, CocoResult, class_names
from bccd.evaluation.operating_point import keep_above

BACKGROUND = "background"


def precision_recall(
    result: CocoResult, ious: Sequence[float] = (0.5, 0.75)
) -> dict[str, dict | None]:
    """COCO's interpolated precision at 101 recalls; its mean is the class's AP at that IoU.

    Args:
        result: CocoResult.
        ious: which of COCO's ten IoU thresholds.

    Returns:
        {class name: {"0.50": {"recall", "precision", "score"}}}, three lists of 101 numbers: the
        score is the one that reaches the recall, 0 beyond the highest recall. None for a class
        without ground truth.
    """
    return {
        name: {f"{iou:.2f}": _curve(result, k, iou) for iou in ious}
        if result.per_class[name]["AP"] is not None
        else None
        for k, name in enumerate(result.per_class)
    }


def _curve(result, k, iou):
    t = int(np.argmin(np.abs(IOU_THRESHOLDS - iou)))
    return {
        "recall": RECALL_THRESHOLDS.tolist(),
        "precision": result.precision[t, :, k, 0, -1].tolist(),
        "score": result.scores[t, :, k, 0, -1].tolist(),
    }


def confusion_matrix(
    coco_gt: dict, detections: list[dict], thresholds: dict[str, float], iou: float = 0.5
) -> tuple[list[str], np.ndarray]:
    """Confusion matrix of the classes at the operating point.

    In the order of falling scores, each detection is matched to the unmatched ground-truth box with
    the highest IoU, of any class. Crowd boxes are left out.

    Args:
        coco_gt: COCO ground truth as a dict, K classes.
        detections: list of COCO results.
        thresholds: {class name: score threshold}; lower scores are left out.
        iou: the IoU from which two boxes match.

    Returns:
        (labels, matrix): K class names and "background"; (K + 1, K + 1) integers with a row per
        true class and a column per predicted class. The last column holds missed cells, the last
        row detections without a ground-truth box.
    """
    annotations = [a for a in coco_gt["annotations"] if not a.get("iscrowd", 0)]
    detections = keep_above(coco_gt, detections, thresholds)
    ground_truth = COCO({**coco_gt, "annotations": annotations})
    evaluation = COCOeval(ground_truth, ground_truth.load_res(detections), "bbox")
    matrix = evaluation.confusion_matrix(iou, max_det=max(len(detections), 1))["matrix"]
    return [*class_names(coco_gt), BACKGROUND], np.asarray(matrix, dtype=np.int64)
