import math

import pytest
from evaluation_cases import NAMES, cases, coco_gt, detection, naive_match
from hypothesis import given, settings

from bccd.evaluation.operating_point import (
    choose_operating_points,
    keep_above,
    measure_operating_points,
    thresholds,
)


def naive_scores(truth, found, category, threshold):
    """(precision, recall, F1) of the detections of one class from a threshold on."""
    found = [d for d in found if d["category_id"] == category and d["score"] >= threshold]
    correct = sum(match is not None for _, match in naive_match(truth, found, 0.5))
    positives = sum(a["category_id"] == category for a in truth["annotations"])
    precision = correct / len(found) if found else None
    recall = correct / positives if positives else None
    if not positives:
        return precision, recall, None
    if not correct:
        return precision, recall, 0.0
    return precision, recall, 2 * precision * recall / (precision + recall)


@settings(max_examples=80, deadline=None)
@given(cases(crowd=False))
def test_the_chosen_threshold_has_the_best_f1_of_a_brute_force_sweep(case):
    truth, found = case
    points = choose_operating_points(truth, found)
    for category, name in enumerate(NAMES, start=1):
        point = points[name]
        expected = naive_scores(truth, found, category, point["threshold"])
        for value, reference in zip(
            (point["precision"], point["recall"], point["f1"]), expected, strict=True
        ):
            assert value == reference or value == pytest.approx(reference, abs=1e-12)
        if point["f1"] is not None:
            scores = {d["score"] for d in found if d["category_id"] == category}
            sweep = [naive_scores(truth, found, category, s)[2] for s in scores]
            assert point["f1"] == pytest.approx(max(sweep, default=0.0), abs=1e-12)
        assert measure_operating_points(truth, found, thresholds(points)) == points


def test_the_threshold_lies_halfway_to_the_next_lower_score():
    truth = coco_gt([(1, 1, 0, 0, 50, 50), (2, 1, 0, 0, 50, 50)])
    found = [
        detection(1, 1, 0, 0, 50, 50, 0.9),
        detection(2, 1, 0, 0, 50, 50, 0.6),
        detection(2, 1, 300, 0, 50, 50, 0.2),
    ]
    point = choose_operating_points(truth, found)["RBC"]
    assert point == {"threshold": pytest.approx(0.4), "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_equal_scores_are_kept_or_dropped_together():
    truth = coco_gt([(1, 1, 0, 0, 50, 50), (1, 1, 100, 0, 50, 50)])
    found = [
        detection(1, 1, 0, 0, 50, 50, 0.8),
        detection(1, 1, 100, 0, 50, 50, 0.5),
        *(detection(1, 1, 200 + 60 * i, 0, 50, 50, 0.5) for i in range(3)),
    ]
    # keeping the 0.8 alone: F1 2/3; all of them: 4/7; one 0.5 without the others is not on offer
    point = choose_operating_points(truth, found)["RBC"]
    assert point["threshold"] == pytest.approx(0.65)
    assert point["f1"] == pytest.approx(2 / 3)


def test_below_the_lowest_score_the_threshold_is_that_score():
    truth = coco_gt([(1, 1, 0, 0, 50, 50)])
    point = choose_operating_points(truth, [detection(1, 1, 0, 0, 50, 50, 0.3)])["RBC"]
    assert point["threshold"] == 0.3
    assert point["f1"] == 1.0


def test_neighbouring_floats_are_told_apart():
    high = math.nextafter(0.5, 1)
    truth = coco_gt([(1, 1, 0, 0, 50, 50)])
    found = [detection(1, 1, 0, 0, 50, 50, high), detection(1, 1, 300, 0, 50, 50, 0.5)]
    point = choose_operating_points(truth, found)["RBC"]
    assert 0.5 < point["threshold"] <= high
    assert point["precision"] == 1.0


def test_a_class_without_truth_or_without_a_hit_takes_the_default_and_warns(caplog):
    truth = coco_gt([(1, 1, 0, 0, 50, 50)])
    found = [detection(1, 1, 300, 0, 50, 50, 0.7), detection(1, 2, 300, 0, 50, 50, 0.9)]
    points = choose_operating_points(truth, found)
    assert points["RBC"] == {"threshold": 0.5, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert points["WBC"] == {"threshold": 0.5, "precision": 0.0, "recall": None, "f1": None}
    assert points["Platelets"] == {"threshold": 0.5, "precision": None, "recall": None, "f1": None}
    assert [name in caplog.text for name in NAMES] == [True] * 3


def test_all_detections_are_looked_at_not_the_best_100():
    truth = coco_gt([(1, 1, 12 * (i % 20), 12 * (i // 20), 10, 10) for i in range(150)])
    found = [detection(1, 1, *a["bbox"], 0.9) for a in truth["annotations"]]
    assert choose_operating_points(truth, found)["RBC"]["recall"] == 1.0


def test_a_detection_at_the_threshold_of_its_class_is_kept():
    found = [detection(1, k, 0, 0, 5, 5, s) for k, s in ((1, 0.3), (2, 0.3), (2, 0.4), (3, 0.0))]
    kept = keep_above(coco_gt([]), found, {"RBC": 0.3, "WBC": 0.4, "Platelets": 0.1})
    assert kept == [found[0], found[2]]
