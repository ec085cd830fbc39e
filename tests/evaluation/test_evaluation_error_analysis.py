import json

import numpy as np
import pytest
from evaluation_cases import NAMES, coco_gt, detection, random_case

from bccd.evaluation.coco import evaluate_boxes
from bccd.evaluation.error_analysis import analyse_errors, ap_gains, ask_second, count_kinds
from bccd.evaluation.error_analysis import placement as measure_placement
from bccd.evaluation.error_page import format_page

THRESHOLDS = dict.fromkeys(NAMES, 0.5)
CELLS = [(1, 1, 0, 0, 100, 100), (1, 1, 300, 0, 100, 100)]
FIRST, SECOND = (detection(1, 1, x, 0, 100, 100, s) for x, s in ((0, 0.9), (300, 0.7)))
HALF = 100 * 51 / 101  # AP where the first of two cells is found: recall up to 0.5
SPOILT = 100 * (51 + 50 * 2 / 3) / 101  # and with a wrong detection before the second


@pytest.mark.parametrize(
    ("wrong", "kind", "before"),
    [
        ([detection(1, 1, 340, 0, 100, 100, 0.8)], "localisation", HALF),
        ([detection(1, 1, 0, 0, 100, 100, 0.8), SECOND], "duplicate", SPOILT),
        ([detection(1, 1, 0, 300, 100, 100, 0.8), SECOND], "background", SPOILT),
        ([], "missed", HALF),
    ],
)
def test_fixing_the_only_kind_of_error_brings_all_that_is_lost(wrong, kind, before):
    result = ap_gains(coco_gt(CELLS), [FIRST, *wrong], 0.5)
    assert result["AP"] == {
        "all": pytest.approx(before),
        "RBC": pytest.approx(before),
        "WBC": None,
        "Platelets": None,
    }
    for name, gain in result["gain"].items():
        if name in ("all false", "not found"):  # sums over kinds
            continue
        assert gain["RBC"] == pytest.approx(100 - before if name == kind else 0, abs=1e-9), name


def test_a_fixed_class_helps_the_class_it_should_have_had():
    truth = coco_gt([*CELLS, (1, 2, 0, 300, 100, 100)])
    found = [FIRST, detection(1, 1, 0, 300, 100, 100, 0.8), SECOND]
    result = ap_gains(truth, found, 0.75)
    gain = result["gain"]["classification"]
    assert gain["WBC"] == pytest.approx(100)
    assert gain["RBC"] == pytest.approx(100 - SPOILT)
    assert gain["all"] == pytest.approx((gain["RBC"] + gain["WBC"]) / 2)


def test_a_wrong_class_beside_a_cell_is_dropped():
    truth = coco_gt([*CELLS, (1, 2, 40, 300, 100, 100)])
    result = ap_gains(truth, [FIRST, detection(1, 1, 0, 300, 100, 100, 0.8), SECOND], 0.5)
    assert result["gain"]["both"]["RBC"] == pytest.approx(100 - SPOILT)


def test_ap_is_that_of_the_evaluation_and_no_fix_harms():
    rng = np.random.default_rng(0)
    truth, found = random_case(rng, num_images=4, num_truth=6, num_found=20)
    for iou, metric in ((0.5, "AP50"), (0.75, "AP75")):
        result = ap_gains(truth, found, iou)
        expected = evaluate_boxes(truth, found)
        assert result["AP"]["all"] == pytest.approx(100 * expected.metrics[metric])
        assert result["AP"]["WBC"] == pytest.approx(100 * expected.per_class["WBC"][metric])
        assert all(gain["all"] > -1e-9 for gain in result["gain"].values())
        assert result["gain"]["all false"]["all"] >= result["gain"]["background"]["all"]


def test_counts_per_class():
    truth = coco_gt([*CELLS, (1, 2, 0, 300, 100, 100), (1, 3, 500, 300, 20, 20)])
    found = [
        FIRST,
        detection(1, 1, 50, 0, 100, 100, 0.8),  # beside the first red cell, which is found
        detection(1, 1, 350, 0, 100, 100, 0.8),  # beside the second, which is not
        detection(1, 3, 0, 300, 100, 100, 0.8),
    ]
    counts = count_kinds(truth, found, 0.5)
    nothing = dict.fromkeys(counts["RBC"], 0)
    red = {"annotated": 2, "correct": 1, "localisation": 2, "localisation of a found cell": 1}
    assert counts["RBC"] == {**nothing, **red, "not found": 1}
    assert counts["WBC"] == {**nothing, "annotated": 1, "not found": 1}
    platelets = {"annotated": 1, "classification": 1, "not found": 1, "missed": 1}
    assert counts["Platelets"] == {**nothing, **platelets}


def test_the_second_annotation_is_asked_only_where_it_has_the_image():
    truth = coco_gt([CELLS[0], (2, 1, 0, 0, 100, 100)])
    second = coco_gt([*CELLS, (1, 3, 0, 400, 20, 20)], num_images=1)
    extra = [detection(image, 1, 300, 0, 100, 100, 0.9) for image in (1, 2)]
    nowhere = detection(1, 1, 0, 300, 100, 100, 0.8)
    found = [FIRST, *extra, nowhere, detection(1, 1, 305, 0, 100, 100, 0.6)]
    answers = ask_second(truth, found, 0.5, second)
    # the last one lies on the unlabelled cell a second time
    assert answers["RBC"]["background"] == {"confirmed": 1, "unconfirmed": 2}
    assert answers["Platelets"]["background"] == {"confirmed": 0, "unconfirmed": 0}
    gains = ap_gains(truth, found, 0.5, second)["gain"]
    assert 0 <= gains["confirmed"]["RBC"] <= gains["background"]["RBC"]


def test_placement_of_correct_detections():
    truth = coco_gt([(1, 1, 200 * i, 0, 100, 100) for i in range(3)])
    ious = {0: 1.0, 10: 90 / 110, 25: 0.6}
    found = [detection(1, 1, 200 * i + x, 0, 100, 100, 0.9) for i, x in enumerate(ious)]
    placement = measure_placement(truth, found)
    assert placement["RBC"] == {
        "matched": 3,
        "median": pytest.approx(90 / 110),
        "share >= 0.75": pytest.approx(2 / 3),
        "share >= 0.9": pytest.approx(1 / 3),
        "histogram": [0, 0, 1, 0, 0, 0, 1, 0, 0, 1],
    }
    assert placement["WBC"]["median"] is None


def test_only_detections_at_the_operating_point_are_counted_and_crowds_are_left_out():
    truth = coco_gt([*CELLS, (1, 1, 0, 300, 50, 50, 1)])
    low = {**SECOND, "score": 0.4}
    analysis = analyse_errors(truth, [FIRST, low], THRESHOLDS, second=coco_gt(CELLS))
    part = analysis["by_iou"]["0.5"]
    assert part["AP"]["RBC"] == pytest.approx(100)
    assert part["counts"]["RBC"]["correct"] == 1
    assert part["counts"]["RBC"]["annotated"] == 2
    assert analysis["images_with_second_annotation"] == 2
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_the_page_shows_the_numbers_and_no_second_annotation_where_there_is_none():
    found = [FIRST, detection(1, 1, 0, 300, 100, 100, 0.8), SECOND]
    truth = coco_gt(CELLS)
    page = format_page(analyse_errors(truth, found, THRESHOLDS), "Errors on x")
    assert page.startswith("# Errors on x\n")
    row = next(line for line in page.splitlines() if line.startswith("| background"))
    assert [cell.strip() for cell in row.split("|")[3:7]] == ["+16.5", "+16.5", "n/a", "n/a"]
    assert "second annotation" not in page
    page = format_page(analyse_errors(truth, found, THRESHOLDS, truth), "Errors on x")
    assert "0 of 1" in page
