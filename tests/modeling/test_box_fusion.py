"""Merging on boxes made by hand."""

import pytest
import torch

from bccd.modeling.box_fusion import non_maximum_suppression, weighted_box_fusion

CELL = [0.0, 0.0, 100.0, 100.0]
SHIFTED = [8.0, 0.0, 108.0, 100.0]
OTHER = [200.0, 0.0, 240.0, 40.0]


def fuse(rows, num_views, merge=weighted_box_fusion):
    """``rows``: (box, score, class, view)."""
    boxes, scores, classes, views = zip(*rows, strict=True) if rows else ([], [], [], [])
    return merge(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(views, dtype=torch.int64),
        num_views=num_views,
        iou_threshold=0.55,
    )


def test_a_cell_is_the_mean_of_its_boxes_weighted_by_score():
    boxes, scores, classes = fuse([(CELL, 0.6, 1, 0), (SHIFTED, 0.2, 1, 1)], num_views=2)
    assert boxes.tolist() == [pytest.approx([2.0, 0.0, 102.0, 100.0])]
    assert scores.tolist() == [pytest.approx(0.4)]
    assert classes.tolist() == [1]


def test_what_few_views_show_scores_less_and_comes_later():
    rows = [(OTHER, 0.9, 0, 2), *((CELL, 0.5, 0, view) for view in range(4))]
    boxes, scores, _ = fuse(rows, num_views=4)
    assert boxes.tolist() == [pytest.approx(CELL), pytest.approx(OTHER)]
    assert scores.tolist() == pytest.approx([0.5, 0.9 / 4])


def test_classes_are_not_mixed():
    boxes, scores, classes = fuse([(CELL, 0.8, 0, 0), (SHIFTED, 0.6, 2, 1)], num_views=2)
    assert boxes.tolist() == [pytest.approx(CELL), pytest.approx(SHIFTED)]
    assert (scores * 2).tolist() == pytest.approx([0.8, 0.6])
    assert classes.tolist() == [0, 2]


def test_a_second_box_of_a_view_has_no_vote():
    rows = [(CELL, 0.8, 0, 0), (SHIFTED, 0.1, 0, 0), (CELL, 0.6, 0, 1), (SHIFTED, 0.0, 0, 1)]
    boxes, scores, _ = fuse(rows, num_views=2)
    assert boxes.tolist() == [pytest.approx(CELL)]
    assert scores.tolist() == [pytest.approx(0.7)]


def test_a_box_joins_the_cluster_that_it_overlaps_most():
    between = [25.0, 0.0, 125.0, 100.0]  # IoU 0.60 with CELL, 0.67 with far
    far = [45.0, 0.0, 145.0, 100.0]
    boxes, scores, _ = fuse([(CELL, 0.9, 0, 0), (far, 0.8, 0, 0), (between, 0.4, 0, 1)], 2)
    middle = (0.8 * 45 + 0.4 * 25) / 1.2
    assert boxes[0].tolist() == pytest.approx([middle, 0.0, middle + 100, 100.0])
    assert boxes[1].tolist() == pytest.approx(CELL)
    assert scores.tolist() == pytest.approx([0.6, 0.45])


def test_scores_of_zero_still_give_a_box():
    boxes, scores, _ = fuse([(CELL, 0.0, 0, 0), (CELL, 0.0, 0, 1)], num_views=2)
    assert boxes.tolist() == [pytest.approx(CELL)]
    assert scores.tolist() == [pytest.approx(0.0)]


def test_order_of_the_boxes_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 40], dim=1)
    scores = torch.rand(60, generator=generator)
    classes, views = torch.arange(60) % 3, torch.arange(60) % 4
    order = torch.randperm(60, generator=generator)
    arguments = {"num_views": 4, "iou_threshold": 0.55}
    expected = weighted_box_fusion(boxes, scores, classes, views, **arguments)
    actual = weighted_box_fusion(*(x[order] for x in (boxes, scores, classes, views)), **arguments)
    assert 0 < len(expected[0]) < 60
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("merge", [weighted_box_fusion, non_maximum_suppression])
def test_nothing_gives_nothing(merge):
    boxes, scores, classes = fuse([], num_views=4, merge=merge)
    assert boxes.shape == (0, 4)
    assert scores.shape == classes.shape == (0,)


def test_nms_keeps_the_best_box_as_it_is():
    rows = [(CELL, 0.6, 1, 0), (SHIFTED, 0.7, 1, 1), (CELL, 0.5, 0, 1)]
    boxes, scores, classes = fuse(rows, num_views=2, merge=non_maximum_suppression)
    assert boxes.tolist() == [SHIFTED, CELL]
    assert scores.tolist() == pytest.approx([0.7, 0.5])
    assert classes.tolist() == [1, 0]
