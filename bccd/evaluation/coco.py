"""COCO box metrics, and the matches behind them.

``hotcoco`` does the work: its arrays equal those of pycocotools, and it gives the match of every
detection, from which the operating points and the bootstrap are computed without matching again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hotcoco import COCO, COCOeval

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
MAX_DETS = (1, 10, 100)
# Areas in the order of COCOeval's parameter: all, small (< 32^2), medium, large (> 96^2 pixels).
_AREA_SUFFIXES = ("", "s", "m", "l")


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class over all images, by falling score, matched as COCO does.

    In the order of falling scores, a detection is matched to the unmatched ground-truth box of its
    class with the highest IoU. Dropping the lowest scores therefore leaves the other matches as
    they are.

    Attributes:
        name: the class.
        image: (D,) index of the image of each of the D detections.
        score: (D,) falling; equal scores in the order of the images, as in pycocotools.
        correct: (T, D) bool, matched to a ground-truth box at each of T IoU thresholds.
        wrong: (T, D) bool, without a match. A detection that is matched to a crowd box is neither.
        positives: (N,) ground-truth boxes of the class in each of N images, without crowd boxes.
    """

    name: str
    image: np.ndarray
    score: np.ndarray
    correct: np.ndarray
    wrong: np.ndarray
    positives: np.ndarray


@dataclass(frozen=True)
class CocoResult:
    """COCO metrics as fractions from 0 to 1; None where there is no ground truth ("n/a").

    Attributes:
        metrics: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl. The numbers after
            AR are ``max_dets``; all the others are taken at the last of these caps.
        per_class: {class name: the same metrics}.
        precision: (10 IoUs, 101 recalls, K, 4 areas, caps) as COCOeval gives it; -1 is n/a.
        recall: (10 IoUs, K, 4 areas, caps).
        scores: like ``precision``, the score at which that precision is reached.
        matches: one ClassMatches per class, at the last cap.
        max_dets: detections with the highest scores that count, per image and class.
    """

    metrics: dict
    per_class: dict
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    matches: list
    max_dets: tuple


def evaluate_boxes(
    coco_gt: dict, detections: list[dict], max_dets: Sequence[int] = MAX_DETS
) -> CocoResult:
    """COCO's box metrics, equal to those of pycocotools.

    Args:
        coco_gt: COCO ground truth as a dict (``images``, ``categories``, ``annotations``).
        detections: list of COCO results: ``image_id, category_id, bbox`` (x, y, w, h), ``score``.
        max_dets: rising caps on the detections per image and class. The default is COCO's; give a
            larger last cap, for example (1, 10, 300), for denser images.

    Returns:
        CocoResult.

    Raises:
        ValueError: no images, or a detection that is not finite or belongs to no image or class.
    """
    evaluation = _run(coco_gt, detections, IOU_THRESHOLDS, max_dets)
    evaluation.accumulate()
    arrays = {name: np.asarray(evaluation.eval[name]) for name in ("precision", "recall", "scores")}
    precision, recall = arrays["precision"], arrays["recall"]
    names = class_names(coco_gt)
    return CocoResult(
        metrics=_summarise(precision, recall, max_dets),
        per_class={
            name: _summarise(precision[:, :, k : k + 1], recall[:, k : k + 1], max_dets)
            for k, name in enumerate(names)
        },
        matches=_collect_matches(evaluation, coco_gt, len(IOU_THRESHOLDS)),
        max_dets=tuple(max_dets),
        **arrays,
    )


def match_boxes(coco_gt: dict, detections: list[dict], iou: float) -> list[ClassMatches]:
    """Match all detections, without a cap on their number, at one IoU.

    Args:
        coco_gt: as for evaluate_boxes.
        detections: as for evaluate_boxes.
        iou: the IoU from which a detection counts as correct.

    Returns:
        list of ClassMatches, one per class, with T = 1.

    Raises:
        ValueError: as evaluate_boxes.
    """
    evaluation = _run(coco_gt, detections, [iou], [max(len(detections), 1)])
    return _collect_matches(evaluation, coco_gt, 1)


def class_names(coco_gt: dict) -> list[str]:
    """Names of the classes in the order of their category ids."""
    return [c["name"] for c in sorted(coco_gt["categories"], key=lambda c: c["id"])]


def _run(coco_gt, detections, iou_thresholds, max_dets):
    _check(coco_gt, detections)
    ground_truth = COCO(coco_gt)
    evaluation = COCOeval(ground_truth, ground_truth.load_res(detections), "bbox")
    evaluation.params.iou_thrs = list(iou_thresholds)
    evaluation.params.max_dets = list(max_dets)
    evaluation.evaluate()
    return evaluation


def _check(coco_gt, detections):
    images = {image["id"] for image in coco_gt["images"]}
    categories = {category["id"] for category in coco_gt["categories"]}
    if not images:
        raise ValueError("The ground truth has no images; check the dataset's name and its files")
    for detection in detections:
        if detection["image_id"] not in images:
            raise ValueError(
                f"Detection in image {detection['image_id']}, which the ground truth lacks: "
                "the predictions belong to another dataset or split"
            )
        if detection["category_id"] not in categories:
            raise ValueError(
                f"Detection with category_id {detection['category_id']}; the ground truth has "
                f"{sorted(categories)}: the model was made for other classes"
            )
        if not np.isfinite([detection["score"], *detection["bbox"]]).all():
            raise ValueError(f"Detection with a box or score that is not finite: {detection}")


def _summarise(precision, recall, max_dets):
    metrics = {"AP": precision[..., 0, -1], "AP50": precision[0, ..., 0, -1]}
    metrics["AP75"] = precision[5, ..., 0, -1]
    for area, suffix in enumerate(_AREA_SUFFIXES[1:], start=1):
        metrics[f"AP{suffix}"] = precision[..., area, -1]
    for m, cap in enumerate(max_dets):
        metrics[f"AR{cap}"] = recall[..., 0, m]
    for area, suffix in enumerate(_AREA_SUFFIXES[1:], start=1):
        metrics[f"AR{suffix}"] = recall[..., area, -1]
    return {name: _mean(values[values > -1]) for name, values in metrics.items()}


def _mean(values):
    return float(values.mean()) if values.size else None


def _collect_matches(evaluation, coco_gt, num_ious):
    index = {image_id: n for n, image_id in enumerate(sorted(i["id"] for i in coco_gt["images"]))}
    all_areas = evaluation.params.area_rng[0]
    per_class = {category["id"]: [] for category in coco_gt["categories"]}
    for entry in evaluation.eval_imgs:
        if entry is not None and entry["aRng"] == all_areas:
            per_class[entry["category_id"]].append(entry)
    return [
        _rank(name, sorted(per_class[k], key=lambda e: e["image_id"]), index, num_ious)
        for k, name in sorted((c["id"], c["name"]) for c in coco_gt["categories"])
    ]


def _rank(name, entries, index, num_ious):
    positives = np.zeros(len(index), dtype=np.int64)
    for entry in entries:
        positives[index[entry["image_id"]]] = np.count_nonzero(~np.array(entry["gtIgnore"], bool))
    image = [index[e["image_id"]] for e in entries for _ in e["dtScores"]]
    score = np.array([score for e in entries for score in e["dtScores"]], dtype=np.float64)
    empty = np.zeros((num_ious, 0), dtype=bool)
    matched, ignored = (
        np.concatenate([empty, *(np.array(e[key], dtype=bool) for e in entries)], axis=1)
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-score, kind="stable")
    return ClassMatches(
        name=name,
        image=np.array(image, dtype=np.int64)[order],
        score=score[order],
        correct=(matched & ~ignored)[:, order],
        wrong=(~matched & ~ignored)[:, order],
        positives=positives,
    )
