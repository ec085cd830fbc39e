import copy

import numpy as np
import pytest
from evaluation_cases import NAMES, cases, coco_gt, detection, pycocotools_eval, random_case
from hypothesis import given, settings

from bccd.evaluation.bootstrap import (
    bootstrap_ap,
    bootstrap_counts,
    bootstrap_differences,
    draw_weights,
    resample_ap,
)
from bccd.evaluation.coco import evaluate_boxes
from bccd.evaluation.counts import count_cells, summarise_counts


@settings(max_examples=80, deadline=None)
@given(cases())
def test_without_resampling_the_ap_is_that_of_coco(case):
    result = evaluate_boxes(*case)
    values = resample_ap(result.matches, np.ones((1, 3)))
    for metric in ("AP", "AP50", "AP75"):
        expected = {f"{metric}-{name}": result.per_class[name][metric] for name in NAMES}
        expected[metric] = result.metrics[metric]
        for name, value in expected.items():
            value = np.nan if value is None else value
            np.testing.assert_allclose(values[name], [value], atol=1e-9, rtol=0)


def test_many_equal_scores_rank_as_in_pycocotools():
    truth, found = random_case(np.random.default_rng(8), 6, num_truth=10, num_found=40)
    found = [{**d, "score": round(d["score"], 1)} for d in found]
    values = resample_ap(evaluate_boxes(truth, found).matches, np.ones((1, 6)))
    expected = pycocotools_eval(truth, found).stats[:3]
    values = [values[name][0] for name in ("AP", "AP50", "AP75")]
    assert values == pytest.approx(expected, abs=1e-9)


def repeat_images(truth, found, weights):
    """The data set with each image as often as its weight says, under new ids."""
    copies = {**truth, "images": [], "annotations": []}
    repeated = []
    for image, weight in zip(truth["images"], weights, strict=True):
        for _ in range(int(weight)):
            new = len(copies["images"]) + 1
            copies["images"].append({**image, "id": new})
            for a in truth["annotations"]:
                if a["image_id"] == image["id"]:
                    number = len(copies["annotations"]) + 1
                    copies["annotations"].append({**a, "image_id": new, "id": number})
            for d in found:
                if d["image_id"] == image["id"]:
                    repeated.append({**copy.deepcopy(d), "image_id": new})
    return copies, repeated


def test_a_resampling_equals_pycocotools_on_the_repeated_images():
    truth, found = random_case(np.random.default_rng(5), 6, num_truth=5, num_found=20)
    weights = draw_weights(6, samples=8, seed=2)
    values = resample_ap(evaluate_boxes(truth, found).matches, weights)
    for s, row in enumerate(weights):
        expected = pycocotools_eval(*repeat_images(truth, found, row)).stats[:3]
        np.testing.assert_allclose(
            [values[name][s] for name in ("AP", "AP50", "AP75")], expected, atol=1e-6, rtol=0
        )


def test_count_intervals_are_percentiles_of_the_repeated_images():
    truth, found = random_case(np.random.default_rng(6), 5, num_truth=4, num_found=12)
    half = dict.fromkeys(NAMES, 0.5)
    weights = draw_weights(5, samples=50, seed=1)
    maes = [
        summarise_counts(count_cells(*repeat_images(truth, found, row), half))["MAE-WBC"][0]
        for row in weights
    ]
    low, high = bootstrap_counts(count_cells(truth, found, half), weights)["MAE-WBC"]
    assert (low, high) == pytest.approx(tuple(np.percentile(maes, [2.5, 97.5])))


def test_weights_are_seeded_and_draw_as_many_images_as_there_are():
    weights = draw_weights(7, samples=200, seed=3)
    assert weights.shape == (200, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert (weights == draw_weights(7, samples=200, seed=3)).all()
    assert (weights != draw_weights(7, samples=200, seed=4)).any()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.3)


def test_the_interval_of_a_mixed_result_contains_it_and_is_not_a_point():
    truth, found = random_case(np.random.default_rng(7), 12, num_truth=6, num_found=20)
    result = evaluate_boxes(truth, found)
    intervals = bootstrap_ap(result.matches, draw_weights(12, samples=300))
    for name in ("AP", "AP50", "AP75"):
        low, high = intervals[name]
        assert 0 < low < result.metrics[name] < high < 1


def test_a_class_is_left_out_of_the_resamplings_that_lack_it():
    truth = coco_gt([(1, 1, 0, 0, 50, 50), (2, 2, 0, 0, 50, 50)])
    found = [detection(1, 1, 0, 0, 50, 50, 0.9)]
    matches = evaluate_boxes(truth, found).matches
    values = resample_ap(matches, np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
    np.testing.assert_allclose(values["AP-RBC"], [1, 1, np.nan])
    np.testing.assert_allclose(values["AP-WBC"], [np.nan, 0, 0])
    np.testing.assert_allclose(values["AP"], [1, 0.5, 0])
    intervals = bootstrap_ap(matches, draw_weights(2, samples=100))
    assert intervals["AP-RBC"] == pytest.approx((1.0, 1.0))
    assert intervals["AP-Platelets"] is None


def test_differences_are_paired():
    """Two systems that differ in one way on all images, though images differ much more."""
    truth, found = random_case(np.random.default_rng(3), 8, num_truth=40, num_found=40)
    worse = [d for n, d in enumerate(found) if n % 10]
    matches = {
        name: evaluate_boxes(truth, detections).matches
        for name, detections in (("a", found), ("b", worse), ("same", found))
    }
    weights = draw_weights(8, 60)
    found = bootstrap_differences(matches, weights, ("AP", "AP75-RBC"))
    values = {name: resample_ap(each, weights) for name, each in matches.items()}
    for metric, rows in found.items():
        assert rows["a"]["same"] == {"difference": 0.0, "interval": (0.0, 0.0)}
        pair, turned = rows["a"]["b"], rows["b"]["a"]
        assert pair["difference"] == -turned["difference"]
        low, high = np.nanpercentile(values["a"][metric] - values["b"][metric], [2.5, 97.5])
        assert pair["interval"] == pytest.approx((low, high))
        assert turned["interval"] == pytest.approx((-high, -low))
    assert "a" not in found["AP"]["a"]


def test_differences_need_the_same_images():
    truth, found = random_case(np.random.default_rng(3), 4, num_truth=10, num_found=10)
    other = {**truth, "annotations": truth["annotations"][:5]}
    matches = {"a": evaluate_boxes(truth, found).matches, "b": evaluate_boxes(other, found).matches}
    with pytest.raises(ValueError, match="a and b were evaluated on different images"):
        bootstrap_differences(matches, draw_weights(4, 5), ("AP",))
