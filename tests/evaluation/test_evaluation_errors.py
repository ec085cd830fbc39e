import numpy as np
import pytest
from evaluation_cases import cases, coco_gt, detection
from hypothesis import given, settings

from bccd.evaluation.coco import match_boxes
from bccd.evaluation.errors import CORRECT, KINDS, fix, judge

CELL = (1, 1, 0, 0, 100, 100)  # image, category, x, y, width, height
FAR = (1, 1, 300, 0, 100, 100)
# (category, x of a 100x100 box) beside one red cell at x = 0; its IoU is (100 - x) / (100 + x)
BESIDE_ONE_RED_CELL = [
    ((1, 10), CORRECT),
    ((1, 40), "localisation"),  # IoU 0.43
    ((1, 81), "localisation"),  # 0.105
    ((1, 82), "background"),  # 0.099
    ((1, 300), "background"),
    ((2, 10), "classification"),
    ((2, 40), "both"),
    ((2, 82), "background"),
]


@pytest.mark.parametrize(("box", "kind"), BESIDE_ONE_RED_CELL)
def test_one_detection_beside_one_cell(box, kind):
    category, x = box
    judgement = judge(coco_gt([CELL]), [detection(1, category, x, 0, 100, 100, 0.9)], 0.5)
    assert judgement.kind.tolist() == [kind]
    assert judgement.target.tolist() == [-1 if kind == "background" else 0]
    expected = 0 if kind == "background" else (100 - x) / (100 + x)
    assert judgement.overlap[0] == pytest.approx(expected)
    assert judgement.found.tolist() == [kind == CORRECT]
    assert judgement.missed.tolist() == [kind in ("both", "background")]


def test_the_higher_iou_makes_a_badly_placed_box_of_a_correct_one():
    found = [detection(1, 1, 20, 0, 100, 100, 0.9)]  # IoU 0.67
    kinds = [judge(coco_gt([CELL]), found, iou).kind[0] for iou in (0.5, 0.75)]
    assert kinds == [CORRECT, "localisation"]


def test_the_lower_score_is_the_duplicate_whatever_the_order():
    found = [detection(1, 1, 0, 0, 100, 100, 0.5), detection(1, 1, 20, 0, 100, 100, 0.9)]
    judgement = judge(coco_gt([CELL]), found, 0.5)
    assert judgement.kind.tolist() == ["duplicate", CORRECT]
    assert judgement.target.tolist() == [0, 0]


def test_a_box_on_a_cell_of_another_class_that_touches_one_of_its_own_has_the_wrong_class():
    truth = coco_gt([(1, 2, 0, 0, 100, 100), (1, 1, 70, 0, 100, 100)])
    judgement = judge(truth, [detection(1, 1, 0, 0, 100, 100, 0.9)], 0.5)
    assert judgement.kind.tolist() == ["classification"]
    assert judgement.target.tolist() == [0]


def test_images_and_annotations_keep_their_order():
    truth = coco_gt([(2, 1, 0, 0, 50, 50), (1, 1, 0, 0, 50, 50), (2, 3, 200, 0, 50, 50)])
    found = [detection(2, 3, 200, 0, 50, 50, 0.2), detection(2, 1, 0, 0, 50, 50, 0.1)]
    judgement = judge(truth, found, 0.5)
    assert judgement.target.tolist() == [2, 0]
    assert judgement.found.tolist() == [True, False, True]
    assert judgement.missed.tolist() == [False, True, False]


def test_without_detections_everything_is_missed_and_without_cells_all_is_background():
    assert judge(coco_gt([CELL]), [], 0.5).missed.tolist() == [True]
    found = [detection(1, 1, 0, 0, 100, 100, 0.9)]
    assert judge(coco_gt([]), found, 0.5).kind.tolist() == ["background"]


def test_fixing_a_class_or_a_place_leaves_the_best_detection_of_the_cell():
    truth = coco_gt([CELL, FAR])
    correct, other = detection(1, 1, 0, 0, 100, 100, 0.6), detection(1, 1, 300, 0, 100, 100, 0.1)
    for kind, wrong in (
        ("localisation", detection(1, 1, 50, 0, 100, 100, 0.9)),
        ("classification", detection(1, 2, 0, 0, 100, 100, 0.9)),
    ):
        found = [correct, wrong, other]
        _, fixed = fix(truth, found, judge(truth, found, 0.5), kind)
        assert fixed == [{**correct, "score": 0.9}, other]
        wrong["score"] = 0.5
        _, fixed = fix(truth, found, judge(truth, found, 0.5), kind)
        assert fixed == [correct, other]


def test_other_wrong_detections_and_missed_boxes_are_dropped():
    truth = coco_gt([CELL, FAR])
    found = [
        detection(1, 1, 0, 0, 100, 100, 0.9),
        detection(1, 1, 0, 0, 100, 100, 0.8),
        detection(1, 1, 0, 300, 100, 100, 0.7),
        detection(1, 2, 50, 0, 100, 100, 0.6),
    ]
    judgement = judge(truth, found, 0.5)
    assert judgement.kind.tolist() == [CORRECT, "duplicate", "background", "both"]
    for i, kind in enumerate(judgement.kind[1:], start=1):
        assert fix(truth, found, judgement, kind) == (truth, found[:i] + found[i + 1 :])
    fixed, same = fix(truth, found, judgement, "missed")
    assert fixed["annotations"] == truth["annotations"][:1] and same == found


@settings(max_examples=60, deadline=None)
@given(cases(crowd=False))
def test_correct_and_wrong_are_those_of_the_evaluation(case):
    truth, found = case
    for iou in (0.5, 0.75):
        judgement = judge(truth, found, iou)
        category = np.array([d["category_id"] for d in found], dtype=int)
        for k, matches in enumerate(match_boxes(truth, found, iou), start=1):
            kinds = judgement.kind[category == k]
            assert (kinds == CORRECT).sum() == matches.correct.sum()
            assert (kinds != CORRECT).sum() == matches.wrong.sum()
        assert set(judgement.kind) <= {CORRECT, *KINDS}
        assert judgement.found.sum() == (judgement.kind == CORRECT).sum()
