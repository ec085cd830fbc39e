import numpy as np
import pytest
from evaluation_cases import NAMES, cases, coco_gt, detection, naive_match, random_case
from hypothesis import given, settings

from bccd.evaluation.coco import evaluate_boxes
from bccd.evaluation.curves import confusion_matrix, precision_recall

HALF = dict.fromkeys(NAMES, 0.5)


def test_the_mean_of_a_curve_is_the_ap_at_its_iou():
    result = evaluate_boxes(*random_case(np.random.default_rng(1), 4, 6, 20))
    for name, curve in precision_recall(result).items():
        for iou, metric in (("0.50", "AP50"), ("0.75", "AP75")):
            precision = curve[iou]["precision"]
            assert np.mean(precision) == pytest.approx(result.per_class[name][metric])
            assert precision == sorted(precision, reverse=True)
            assert len(curve[iou]["recall"]) == len(curve[iou]["score"]) == len(precision) == 101


def test_a_curve_by_hand():
    truth = coco_gt([(1, 1, 0, 0, 50, 50), (2, 1, 0, 0, 50, 50)])
    found = [detection(1, 1, 300, 0, 50, 50, 0.9), detection(1, 1, 0, 0, 50, 50, 0.8)]
    curves = precision_recall(evaluate_boxes(truth, found))
    curve = curves["RBC"]["0.50"]
    assert curve["precision"] == pytest.approx([0.5] * 51 + [0.0] * 50)
    assert curve["score"] == pytest.approx([0.9] + [0.8] * 50 + [0.0] * 50)
    assert curves["WBC"] is None


@settings(max_examples=80, deadline=None)
@given(cases())
def test_confusion_equals_a_naive_matching_over_all_classes(case):
    truth, found = case
    truth_without_crowd = [a for a in truth["annotations"] if not a["iscrowd"]]
    kept = [d for d in found if d["score"] >= 0.5]
    expected = np.zeros((4, 4), dtype=int)
    matched = []
    for det, box in naive_match({"annotations": truth_without_crowd}, kept, 0.5, same_class=False):
        expected[box["category_id"] - 1 if box else 3, det["category_id"] - 1] += 1
        matched.append(box)
    for box in truth_without_crowd:
        expected[box["category_id"] - 1, 3] += box not in matched
    labels, matrix = confusion_matrix(truth, found, HALF)
    assert labels == [*NAMES, "background"]
    assert matrix.tolist() == expected.tolist()


def test_confusion_by_hand():
    truth = coco_gt([(1, 1, 0, 0, 50, 50), (1, 2, 100, 0, 50, 50), (2, 3, 0, 0, 9, 9)])
    found = [
        detection(1, 1, 0, 0, 50, 50, 0.9),  # RBC, right
        detection(1, 1, 100, 0, 50, 50, 0.8),  # RBC on a WBC
        detection(2, 2, 300, 0, 50, 50, 0.7),  # WBC on nothing
        detection(2, 3, 0, 0, 9, 9, 0.4),  # below the threshold: the platelet is missed
    ]
    _, matrix = confusion_matrix(truth, found, HALF)
    assert matrix.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
