"""Counts of the kinds of errors, and how much AP each kind costs."""

import numpy as np

from bccd.evaluation.coco import MAX_DETS, class_names, evaluate_boxes
from bccd.evaluation.errors import (
    BACKGROUND_IOU,
    CORRECT,
    FALSE_KINDS,
    KINDS,
    MISSED,
    drop,
    drop_annotations,
    fix,
    indices_by_image,
    judge,
)
from bccd.evaluation.operating_point import keep_above

IOUS = (0.5, 0.75)
ALL_FALSE, NOT_FOUND, CONFIRMED = "all false", "not found", "confirmed"
REPEATED = "localisation of a found cell"
HISTOGRAM_EDGES = np.linspace(0.5, 1.0, 11).round(2)
SHARES = (0.75, 0.9)


def analyse_errors(
    coco_gt: dict, detections: list[dict], thresholds: dict[str, float], second: dict | None = None
) -> dict:
    """Analyse the errors of an evaluation; the result is the content of ``errors.json``.

    AP and its gains are computed from detections of any score. Counts are of the detections that
    reach the threshold of their class: the many detections below it cost little AP and are not
    shown. Crowd boxes are left out.

    Args:
        coco_gt: COCO ground truth as a dict.
        detections: list of COCO results, of any score.
        thresholds: {class name: score threshold}.
        second: another annotation of some of the images, as COCO ground truth with the image ids
            of ``coco_gt``, or None.

    Returns:
        dict: ``background_iou, operating_points``, ``images`` and ``images_with_second_annotation``
        (numbers), ``by_iou`` {IoU: {"AP", "gain", "counts", "second_annotation"}} as ``ap_gains``,
        ``count_kinds`` and ``ask_second`` return them, and ``localisation`` as ``placement``.
    """
    coco_gt = _without_crowd(coco_gt)
    second = second and _without_crowd(second)
    kept = keep_above(coco_gt, detections, thresholds)
    by_iou = {}
    for iou in IOUS:
        by_iou[f"{iou:g}"] = {
            **ap_gains(coco_gt, detections, iou, second),
            "counts": count_kinds(coco_gt, kept, iou),
            "second_annotation": second and ask_second(coco_gt, kept, iou, second),
        }
    return {
        "background_iou": BACKGROUND_IOU,
        "operating_points": thresholds,
        "images": len(coco_gt["images"]),
        "images_with_second_annotation": len(second["images"]) if second else 0,
        "by_iou": by_iou,
        "localisation": placement(coco_gt, kept),
    }


def ap_gains(
    coco_gt: dict, detections: list[dict], iou: float, second: dict | None = None
) -> dict[str, dict]:
    """AP at one IoU, and the gain in AP when a single kind of error is fixed.

    Args:
        coco_gt, detections, second: as for analyse_errors, without crowd boxes. Detections beyond
            COCO's 100 per image and class count too.
        iou: one of IOUS.

    Returns:
        {"AP": {"all" or class name: percent}, "gain": {kind: {the same: percentage points}}}, None
        where a class has no ground truth. Beside KINDS: ALL_FALSE (all wrong detections dropped),
        NOT_FOUND (all boxes without a correct detection dropped) and, with a second annotation,
        CONFIRMED (wrong detections that are correct by it dropped).
    """
    judgement = judge(coco_gt, detections, iou)
    wrong = judgement.kind != CORRECT
    cases = {kind: fix(coco_gt, detections, judgement, kind) for kind in KINDS}
    cases[ALL_FALSE] = coco_gt, drop(detections, wrong)
    cases[NOT_FOUND] = drop_annotations(coco_gt, ~judgement.found), detections
    if second:
        cases[CONFIRMED] = coco_gt, drop(detections, wrong & _confirmed(second, detections, iou))
    base = _measure_ap(coco_gt, detections, iou)
    gains = {kind: _differences(_measure_ap(*case, iou), base) for kind, case in cases.items()}
    return {"AP": base, "gain": gains}


def count_kinds(coco_gt: dict, detections: list[dict], iou: float) -> dict[str, dict[str, int]]:
    """How often each kind of error occurs.

    Returns:
        {class name: {"annotated", CORRECT, each of FALSE_KINDS, REPEATED, NOT_FOUND, MISSED}}.
        Wrong detections count for the class that they name. REPEATED are the localisation errors
        about a box that another detection has found; MISSED is a part of NOT_FOUND.
    """
    judgement = judge(coco_gt, detections, iou)
    again = (judgement.kind == "localisation") & np.append(judgement.found, False)[judgement.target]
    named, annotated = _categories(detections), _categories(coco_gt["annotations"])
    counts = {}
    for category_id, name in _classes(coco_gt):
        mine, true = named == category_id, annotated == category_id
        counts[name] = {
            "annotated": _count(true),
            **{kind: _count(mine & (judgement.kind == kind)) for kind in (CORRECT, *FALSE_KINDS)},
            REPEATED: _count(mine & again),
            NOT_FOUND: _count(true & ~judgement.found),
            MISSED: _count(true & judgement.missed),
        }
    return counts


def ask_second(coco_gt: dict, detections: list[dict], iou: float, second: dict) -> dict[str, dict]:
    """How many of the wrong detections are correct by a second annotation.

    Returns:
        {class name: {each of FALSE_KINDS: {"confirmed", "unconfirmed"}}}, over the images that the
        second annotation has. A confirmed "background" is a real cell that ``coco_gt`` lacks.
    """
    judgement = judge(coco_gt, detections, iou)
    confirmed, named = _confirmed(second, detections, iou), _categories(detections)
    shared = {image["id"] for image in second["images"]}
    asked = np.array([d["image_id"] in shared for d in detections], dtype=bool)
    answers = {}
    for category_id, name in _classes(coco_gt):
        mine = asked & (named == category_id)
        answers[name] = {
            kind: {
                CONFIRMED: _count(mine & (judgement.kind == kind) & confirmed),
                "unconfirmed": _count(mine & (judgement.kind == kind) & ~confirmed),
            }
            for kind in FALSE_KINDS
        }
    return answers


def placement(coco_gt: dict, detections: list[dict]) -> dict[str, dict]:
    """IoU of the correct detections (IoU >= 0.5) with their boxes.

    Returns:
        {class name: {"matched", "median" IoU, "share >= 0.75", "share >= 0.9", "histogram"}}; the
        histogram is the number of matches between the HISTOGRAM_EDGES. None without a match.
    """
    judgement = judge(coco_gt, detections, IOUS[0])
    named, result = _categories(detections), {}
    for category_id, name in _classes(coco_gt):
        overlap = judgement.overlap[(judgement.kind == CORRECT) & (named == category_id)]
        some = overlap.size > 0
        result[name] = {
            "matched": overlap.size,
            "median": float(np.median(overlap)) if some else None,
            **{f"share >= {s:g}": float((overlap >= s).mean()) if some else None for s in SHARES},
            "histogram": np.histogram(overlap.clip(max=1), HISTOGRAM_EDGES)[0].tolist(),
        }
    return result


def _without_crowd(coco_gt):
    return drop_annotations(coco_gt, [a.get("iscrowd", 0) for a in coco_gt["annotations"]])


def _confirmed(second, detections, iou):
    """(P,) bool, correct by the second annotation; false in images that it lacks."""
    return judge(second, detections, iou).kind == CORRECT


def _measure_ap(coco_gt, detections, iou):
    fullest = max(map(len, indices_by_image(detections).values()), default=0)
    caps = (*MAX_DETS[:-1], max(MAX_DETS[-1], fullest))
    result = evaluate_boxes(coco_gt, detections, caps)
    metrics = {"all": result.metrics, **result.per_class}
    values = {name: each[f"AP{100 * iou:.0f}"] for name, each in metrics.items()}
    return {name: None if value is None else 100 * value for name, value in values.items()}


def _differences(values, base):
    pairs = {name: (values[name], base[name]) for name in base}
    return {name: None if None in pair else pair[0] - pair[1] for name, pair in pairs.items()}


def _classes(coco_gt):
    return zip(sorted(c["id"] for c in coco_gt["categories"]), class_names(coco_gt), strict=True)


def _categories(boxes):
    return np.array([box["category_id"] for box in boxes], dtype=np.int64)


def _count(chosen):
    return int(np.count_nonzero(chosen))
