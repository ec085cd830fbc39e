import numpy as np
import pytest
from evaluation_cases import (
    NAMES,
    cases,
    coco_gt,
    detection,
    naive_match,
    pycocotools_eval,
    random_case,
)
from hypothesis import given, settings

from bccd.evaluation.coco import evaluate_boxes, match_boxes

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def assert_equals_pycocotools(truth, found, max_dets=(1, 10, 100)):
    result = evaluate_boxes(truth, found, max_dets)
    expected = pycocotools_eval(truth, found, max_dets)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_allclose(getattr(result, name), expected.eval[name], atol=1e-6, rtol=0)
    if max_dets == (1, 10, 100):
        stats = [-1 if result.metrics[name] is None else result.metrics[name] for name in STATS]
        np.testing.assert_allclose(stats, expected.stats, atol=1e-6, rtol=0)
        precision = expected.eval["precision"]
        for k, name in enumerate(NAMES):
            for metric, t in (("AP", slice(None)), ("AP50", 0), ("AP75", 5)):
                ap, values = result.per_class[name][metric], precision[t, :, k, 0, -1]
                assert (ap is None) == (values.max() < 0)
                assert ap is None or abs(ap - values.mean()) < 1e-6


@settings(max_examples=80, deadline=None)
@given(cases())
def test_equals_pycocotools_with_ties_crowds_and_absent_classes(case):
    assert_equals_pycocotools(*case)


@pytest.mark.parametrize("max_dets", [(1, 10, 100), (1, 10, 300), (1, 10, 100, 1000)])
def test_equals_pycocotools_beyond_the_cap(max_dets):
    rng = np.random.default_rng(0)
    assert_equals_pycocotools(*random_case(rng, 2, num_truth=60, num_found=900), max_dets)


def test_a_larger_cap_counts_cells_that_the_standard_one_drops():
    truth = coco_gt([(1, 1, 12 * (i % 20), 12 * (i // 20), 10, 10) for i in range(150)])
    found = [detection(1, 1, *a["bbox"], 0.9) for a in truth["annotations"]]
    assert evaluate_boxes(truth, found).metrics["AR100"] == pytest.approx(100 / 150)
    dense = evaluate_boxes(truth, found, max_dets=(1, 10, 300))
    assert dense.metrics["AR300"] == dense.metrics["AP"] == 1.0


def naive_ap(truth, found, category, iou):
    """The area under the precision envelope at 101 recalls, detection by detection."""
    positives = [a for a in truth["annotations"] if a["category_id"] == category]
    truth = {**truth, "annotations": positives}
    found = [d for d in found if d["category_id"] == category]
    points, correct = [], 0
    for rank, (_, match) in enumerate(naive_match(truth, found, iou), start=1):
        correct += match is not None
        points.append((correct / len(positives), correct / rank))
    grid = np.linspace(0, 1, 101)
    return np.mean([max((p for r, p in points if r >= level), default=0.0) for level in grid])


@pytest.mark.parametrize("seed", range(3))
def test_ap_equals_a_naive_implementation(seed):
    truth, found = random_case(np.random.default_rng(seed), 3, num_truth=8, num_found=25)
    result = evaluate_boxes(truth, found)
    for category, name in enumerate(NAMES, start=1):
        expected = naive_ap(truth, found, category, 0.5)
        assert 0 < expected < 1
        assert result.per_class[name]["AP50"] == pytest.approx(expected, abs=1e-9)


def test_no_detections_give_zeros_and_a_class_without_truth_gives_none():
    result = evaluate_boxes(coco_gt([(1, 1, 0, 0, 50, 50)]), [])
    assert {result.metrics[m] for m in ("AP", "AP50", "AP75", "APm", "AR100")} == {0.0}
    assert result.metrics["APl"] is None
    assert result.per_class["RBC"]["AP"] == 0.0
    assert set(result.per_class["WBC"].values()) == {None}


def test_no_ground_truth_at_all_gives_none():
    result = evaluate_boxes(coco_gt([]), [detection(1, 1, 0, 0, 5, 5, 0.5)])
    assert set(result.metrics.values()) == {None}


@settings(max_examples=80, deadline=None)
@given(cases(crowd=False))
def test_matches_count_as_a_naive_matching_does(case):
    truth, found = case
    for k, matches in enumerate(match_boxes(truth, found, 0.5), start=1):
        pairs = [p for p in naive_match(truth, found, 0.5) if p[0]["category_id"] == k]
        assert matches.score.tolist() == [det["score"] for det, _ in pairs]
        assert matches.correct[0].tolist() == [match is not None for _, match in pairs]
        assert (matches.wrong == ~matches.correct).all()
        assert (matches.image + 1).tolist() == [det["image_id"] for det, _ in pairs]
        of_class = [a for a in truth["annotations"] if a["category_id"] == k]
        expected = [sum(a["image_id"] == i for a in of_class) for i in (1, 2, 3)]
        assert matches.positives.tolist() == expected


def test_a_detection_on_a_crowd_box_is_neither_correct_nor_wrong():
    truth = coco_gt([(1, 1, 0, 0, 50, 50, 1)])
    matches = match_boxes(truth, [detection(1, 1, 0, 0, 50, 50, 0.9)], 0.5)[0]
    assert not matches.correct.any() and not matches.wrong.any() and matches.positives.sum() == 0


def test_nothing_is_printed(capfd):
    evaluate_boxes(*random_case(np.random.default_rng(0), 2, 5, 20))
    match_boxes(*random_case(np.random.default_rng(0), 2, 5, 20), 0.3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (detection(7, 1, 0, 0, 5, 5, 0.5), "image 7"),
        (detection(1, 4, 0, 0, 5, 5, 0.5), "category_id 4"),
        (detection(1, 1, 0, 0, 5, 5, float("nan")), "not finite"),
        (detection(1, 1, 0, 0, float("inf"), 5, 0.5), "not finite"),
    ],
)
def test_foreign_or_broken_detections_are_an_error(found, message):
    with pytest.raises(ValueError, match=message):
        evaluate_boxes(coco_gt([(1, 1, 0, 0, 50, 50)]), [found])


def test_a_data_set_without_images_is_an_error():
    with pytest.raises(ValueError, match="no images"):
        evaluate_boxes(coco_gt([], num_images=0), [])
