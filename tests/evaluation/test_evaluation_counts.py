import numpy as np
import pytest
from evaluation_cases import NAMES, cases, coco_gt, detection
from hypothesis import given, settings

from bccd.evaluation.counts import count_cells, summarise_counts

THRESHOLDS = {"RBC": 0.5, "WBC": 0.3, "Platelets": 0.8}


@settings(max_examples=80, deadline=None)
@given(cases())
def test_counts_and_errors_equal_a_naive_tally(case):
    truth, found = case
    counts = count_cells(truth, found, THRESHOLDS)
    summary = summarise_counts(counts)
    errors = {name: [] for name in NAMES}
    for n, image in enumerate([1, 2, 3]):
        for k, name in enumerate(NAMES):
            annotated = predicted = 0
            for a in truth["annotations"]:
                here = a["image_id"] == image and a["category_id"] == k + 1
                annotated += here and not a["iscrowd"]
            for d in found:
                here = d["image_id"] == image and d["category_id"] == k + 1
                predicted += here and d["score"] >= THRESHOLDS[name]
            assert (counts.true[n, k], counts.predicted[n, k]) == (annotated, predicted)
            errors[name].append(predicted - annotated)
    for name, error in errors.items():
        assert summary[f"MAE-{name}"] == pytest.approx(np.mean(np.abs(error)))
        assert summary[f"bias-{name}"] == pytest.approx(np.mean(error))
        assert summary[f"exact-{name}"] == pytest.approx(np.mean(np.array(error) == 0))
    table = np.array(list(errors.values()))
    assert summary["MAE"] == pytest.approx(np.abs(table).mean())
    assert summary["bias"] == pytest.approx(table.mean())
    assert summary["exact"] == pytest.approx((table == 0).all(axis=0).mean())


def test_images_without_truth_or_detections_are_counted():
    truth = coco_gt([(1, 1, 0, 0, 5, 5)], num_images=4)
    counts = count_cells(truth, [detection(2, 3, 0, 0, 5, 5, 0.9)], THRESHOLDS)
    assert counts.true.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert counts.predicted.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert summarise_counts(counts)["exact"] == 0.5


def test_a_weighted_summary_repeats_images():
    truth = coco_gt([(1, 1, 0, 0, 5, 5), (1, 1, 9, 0, 5, 5), (2, 1, 0, 0, 5, 5)])
    counts = count_cells(truth, [], THRESHOLDS)
    weights = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert summarise_counts(counts, weights)["MAE-RBC"].tolist() == [2.0, 1.0]
    assert summarise_counts(counts, weights)["bias-RBC"].tolist() == [-2.0, -1.0]
