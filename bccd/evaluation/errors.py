"""Kinds of errors: of each wrong detection and of each missed cell, and the effect of fixing one.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020
(arXiv 2008.08115), sections 2.2 and 2.3. One choice differs: a detection that could be both a
classification and a localisation error is the former, because the box that it overlaps by the
foreground IoU is of another class; TIDE asks for the localisation error first. ``hotcoco`` has TIDE
as well, but it follows that order, and gives counts and AP gains without the kind and the target of
each detection, which the figures and the second annotation need.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import box_iou

CORRECT = "correct"
# Kinds of detections that are wrong, and the kind of annotated box that nothing comes near.
FALSE_KINDS = ("classification", "localisation", "both", "duplicate", "background")
MISSED = "missed"
KINDS = (*FALSE_KINDS, MISSED)
_FIXED_FIELD = {"classification": "category_id", "localisation": "bbox"}
BACKGROUND_IOU = 0.1  # below it a detection and a box have nothing to do with each other


@dataclass(frozen=True)
class Judgement:
    """Errors of P detections and M annotated boxes.

    Attributes:
        kind: (P,) CORRECT or one of FALSE_KINDS.
        target: (P,) index of an annotated box: the match of a correct detection, otherwise the most
            overlapped box of those that make it this kind; -1 for background.
        overlap: (P,) IoU with the target; 0 for background.
        found: (M,) bool, the match of a correct detection.
        missed: (M,) bool, not found, and not the target of a classification or localisation error.
    """

    kind: np.ndarray
    target: np.ndarray
    overlap: np.ndarray
    found: np.ndarray
    missed: np.ndarray


def judge_image(
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    true_boxes: np.ndarray,
    true_classes: np.ndarray,
    iou: float,
) -> Judgement:
    """Match the detections of one image as COCO does, and give each wrong one its kind.

    Args:
        boxes, classes, scores: (P, 4) XYXY, (P,) and (P,), in any order.
        true_boxes, true_classes: (M, 4) and (M,).
        iou: the least overlap with a box of the same class that makes a detection correct.

    Returns:
        Judgement.
    """
    overlaps = _pairwise_iou(boxes, true_boxes)
    same = np.asarray(classes)[:, None] == np.asarray(true_classes)[None, :]
    match = _match(np.where(same, overlaps, -1), scores, iou)
    # A column of zeros stands for "no box", so that an image without any is no special case.
    padded, same = np.pad(overlaps, ((0, 0), (0, 1))), np.pad(same, ((0, 0), (0, 1)))
    own, other = np.where(same, padded, 0), np.where(same, 0, padded)
    nearest, nearest_other = own.argmax(axis=1), other.argmax(axis=1)
    own, other = own.max(axis=1), other.max(axis=1)
    rules = (
        (match >= 0, CORRECT, match),
        (own >= iou, "duplicate", nearest),
        (other >= iou, "classification", nearest_other),
        (own >= BACKGROUND_IOU, "localisation", nearest),
        (other >= BACKGROUND_IOU, "both", nearest_other),
    )
    conditions, kinds, targets = zip(*rules, strict=True)
    kind = np.select(conditions, kinds, "background")
    target = np.select(conditions, targets, -1)
    found, near = np.zeros(len(true_boxes), dtype=bool), np.zeros(len(true_boxes), dtype=bool)
    found[match[match >= 0]] = True
    near[target[np.isin(kind, ("classification", "localisation"))]] = True
    overlap = np.take_along_axis(padded, target[:, None], axis=1)[:, 0]  # -1 is the zero column
    return Judgement(kind, target, overlap, found, ~found & ~near)


def _pairwise_iou(boxes, true_boxes):
    """(P, M) IoUs in double precision, 0 for a pair of boxes without area."""
    first, second = (
        torch.from_numpy(np.array(b, dtype=np.float64).reshape(-1, 4)) for b in (boxes, true_boxes)
    )
    return np.nan_to_num(box_iou(first, second).numpy())


def _match(overlaps, scores, iou):
    """(P,) index of the box that each detection matches, or -1. Higher scores match first."""
    match, taken = np.full(len(overlaps), -1), np.zeros(overlaps.shape[1], dtype=bool)
    for p in np.argsort(-np.asarray(scores), kind="stable"):
        free = np.where(taken, -1, overlaps[p])
        if free.max(initial=-1) >= iou:
            match[p] = free.argmax()
            taken[match[p]] = True
    return match


def judge(coco_gt: dict, detections: list[dict], iou: float) -> Judgement:
    """``judge_image`` for a data set.

    Args:
        coco_gt: COCO ground truth as a dict, without crowd boxes.
        detections: list of COCO results, P of them.
        iou: as for judge_image.

    Returns:
        Judgement in the order of ``detections`` and of ``coco_gt["annotations"]``.
    """
    found_in, true_in = indices_by_image(detections), indices_by_image(coco_gt["annotations"])
    count, total = len(detections), len(coco_gt["annotations"])
    result = Judgement(
        kind=np.full(count, "background", dtype=object),
        target=np.full(count, -1),
        overlap=np.zeros(count),
        found=np.zeros(total, dtype=bool),
        missed=np.ones(total, dtype=bool),
    )
    for image_id, chosen in found_in.items():
        annotated = np.array(true_in[image_id], dtype=np.int64)
        boxes, classes = _boxes_and_classes([detections[i] for i in chosen])
        truth = _boxes_and_classes([coco_gt["annotations"][i] for i in annotated])
        scores = np.array([detections[i]["score"] for i in chosen])
        part = judge_image(boxes, classes, scores, *truth, iou)
        result.kind[chosen], result.overlap[chosen] = part.kind, part.overlap
        result.target[chosen] = np.append(annotated, -1)[part.target]
        result.found[annotated], result.missed[annotated] = part.found, part.missed
    return result


def indices_by_image(boxes: Sequence[dict]) -> dict[int, list[int]]:
    """{image id: indices of its boxes}."""
    indices = defaultdict(list)
    for i, box in enumerate(boxes):
        indices[box["image_id"]].append(i)
    return indices


def _boxes_and_classes(boxes):
    """(P, 4) XYXY and (P,) category ids of COCO boxes."""
    corners = np.array([box["bbox"] for box in boxes], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners, np.array([box["category_id"] for box in boxes], dtype=np.int64)


def fix(
    coco_gt: dict, detections: list[dict], judgement: Judgement, kind: str
) -> tuple[dict, list[dict]]:
    """Correct one kind of error.

    A classification error gets the class of its target, a localisation error the box of its target.
    If several detections then have the same target, the one with the best score stays. Other wrong
    detections are dropped, and missed boxes are dropped from the ground truth.

    Args:
        coco_gt, detections, judgement: as ``judge`` takes and returns them.
        kind: one of KINDS.

    Returns:
        The new ground truth and the new detections.
    """
    if kind == MISSED:
        return drop_annotations(coco_gt, judgement.missed), detections
    wrong = judgement.kind == kind
    if kind not in _FIXED_FIELD:
        return coco_gt, drop(detections, wrong)
    field, fixed = _FIXED_FIELD[kind], list(detections)
    dropped, claimed = np.zeros(len(detections), dtype=bool), set()
    claims = np.flatnonzero(wrong | (judgement.kind == CORRECT))
    for i in sorted(claims, key=lambda i: -detections[i]["score"]):
        target = judgement.target[i]
        dropped[i] = target in claimed
        claimed.add(target)
        if wrong[i]:
            fixed[i] = {**detections[i], field: coco_gt["annotations"][target][field]}
    return coco_gt, drop(fixed, dropped)


def drop(boxes: Sequence[dict], dropped: Sequence[bool]) -> list[dict]:
    """The elements of a list for which ``dropped``, of the same length, is false."""
    return [box for box, gone in zip(boxes, dropped, strict=True) if not gone]


def drop_annotations(coco_gt: dict, dropped: Sequence[bool]) -> dict:
    """The ground truth without the annotations for which ``dropped`` is true."""
    return {**coco_gt, "annotations": drop(coco_gt["annotations"], dropped)}
