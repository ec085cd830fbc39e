from functools import partial

import pytest
import torch

from bccd.modeling.assigners.task_aligned import assign_task_aligned
from bccd.modeling.losses import giou, iou

tood = partial(assign_task_aligned, alpha=0.5, beta=6.0, topk=10)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(1, -1, 4)


def centres(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def naive(scores, boxes, points, truths, classes, alpha, beta, topk):
    """The rule for one image, pair by pair: matched and quality of each anchor."""
    count, anchors = len(truths), range(len(boxes))
    overlap = [[float(iou(b, t)) for b in boxes] for t in truths]
    metric = [[0.0] * len(boxes) for _ in truths]
    for t, (truth, k) in enumerate(zip(truths, classes, strict=True)):
        for a in anchors:
            inside = (points[a] > truth[:2]).all() and (points[a] < truth[2:]).all()
            if inside and k >= 0:
                metric[t][a] = float(scores[a][k]) ** alpha * overlap[t][a] ** beta
    chosen = [
        {a for a in sorted(anchors, key=lambda a, m=m: -m[a])[:topk] if m[a] > 0} for m in metric
    ]
    matched, quality = [count] * len(boxes), [0.0] * len(boxes)
    for a in anchors:
        wanted = [t for t in range(count) if a in chosen[t]]
        if wanted:
            matched[a] = max(wanted, key=lambda t: (overlap[t][a], -t))
    for t in range(count):
        kept = [a for a in anchors if matched[a] == t]
        for a in kept:
            best = max(1e-12, *(metric[t][b] for b in kept))
            quality[a] = metric[t][a] / best * max(overlap[t][b] for b in kept)
    return matched, quality


def test_it_takes_the_anchors_that_overlap_and_score_best():
    truths = boxes([0, 0, 10, 10], [20, 0, 30, 10])
    predicted = boxes([0, 0, 10, 10], [0, 0, 10, 8], [21, 0, 30, 10], [50, 50, 60, 60])
    scores = torch.full((1, 4, 2), 0.5)
    found = tood(scores, predicted, centres(predicted), truths, torch.tensor([[0, 1]]))
    assert found.matched.tolist() == [[0, 0, 1, 2]]
    # The best anchor of a box has that box's best IoU, the others less, by their alignment.
    torch.testing.assert_close(found.quality, torch.tensor([[1.0, 0.8**6, 0.9, 0.0]]))
    torch.testing.assert_close(found.overlap, torch.tensor([[1.0, 0.8, 0.9, 0.0]]))


def test_an_anchor_that_two_boxes_choose_belongs_to_the_one_it_overlaps_most():
    truths = boxes([0, 0, 10, 10], [4, 0, 14, 10])
    predicted = boxes([3, 0, 13, 10])
    # The first box is aligned better, by its score.
    scores = torch.tensor([[[1.0, 1e-6]]])
    found = tood(scores, predicted, centres(predicted), truths, torch.tensor([[0, 1]]))
    assert found.matched.tolist() == [[1]]
    torch.testing.assert_close(found.quality, torch.tensor([[9 / 11]]))


def test_at_equal_overlap_the_first_box_has_it():
    truths, predicted = boxes([0, 0, 10, 10], [0, 0, 10, 10]), boxes([0, 0, 10, 10])
    scores = torch.full((1, 1, 1), 0.5)
    found = tood(scores, predicted, centres(predicted), truths, torch.tensor([[0, 0]]))
    assert found.matched.tolist() == [[0]]


def test_no_more_than_the_best_and_no_padding():
    predicted = boxes([0, 0, 10, 10]).expand(1, 30, 4)
    truths, classes = boxes([0, 0, 10, 10], [0, 0, 0, 0]), torch.tensor([[0, -1]])
    scores = torch.full((1, 30, 1), 0.5)
    found = tood(scores, predicted, centres(predicted), truths, classes)
    assert (found.matched == 0).sum() == (found.quality > 0).sum() == 10
    assert set(found.matched.unique().tolist()) == {0, 2}


def test_the_point_must_lie_inside_and_not_on_the_border():
    truths, predicted = boxes([0, 0, 10, 10]), boxes([0, 0, 10, 10]).expand(1, 3, 4)
    points = torch.tensor([[5.0, 5], [10, 5], [5, 12]])
    found = tood(torch.ones(1, 3, 1), predicted, points, truths, torch.tensor([[0]]))
    assert found.matched.tolist() == [[0, 1, 1]]


def test_another_overlap_can_be_used():
    truths, predicted = boxes([0, 0, 10, 10]), boxes([0, 0, 10, 8], [2, 0, 12, 10])
    found = tood(
        *(torch.ones(1, 2, 1), predicted, centres(predicted), truths, torch.tensor([[0]])),
        overlap=lambda a, b: giou(a, b).clamp(min=0),
    )
    torch.testing.assert_close(found.overlap, giou(predicted, truths).clamp(min=0))


def naive_ppyoloe(scores, boxes, points, truths, classes, alpha, beta, topk):
    """As :func:`naive`, by the rule of PP-YOLOE; each point lies inside its predicted box."""
    anchors, chosen, metrics = range(len(boxes)), [], []
    inside = [
        {a for a in anchors if (points[a] > t[:2]).all() and (points[a] < t[2:]).all() and k >= 0}
        for t, k in zip(truths, classes, strict=True)
    ]
    for t, k in enumerate(classes):
        overlaps = {a: float(iou(boxes[a], truths[t])) for a in inside[t]}
        metrics.append({a: float(scores[a][k]) ** alpha * u**beta for a, u in overlaps.items()})
        chosen.append(set(sorted(inside[t], key=lambda a, m=metrics[t]: -m[a])[:topk]))
    matched, quality = [len(truths)] * len(boxes), [0.0] * len(boxes)
    for a in anchors:
        wanted = [t for t in range(len(truths)) if a in chosen[t]]
        if len(wanted) > 1:  # truths that did not choose it take part
            wanted = [t for t in range(len(truths)) if a in inside[t]]
        if wanted:
            matched[a] = max(wanted, key=lambda t: (float(iou(boxes[a], truths[t])), -t))
    for t in range(len(truths)):
        kept = [a for a in anchors if matched[a] == t]
        for a in kept:
            best = max(metrics[t][b] for b in kept) + 1e-9
            quality[a] = metrics[t][a] / best * max(float(iou(boxes[b], truths[t])) for b in kept)
    return matched, quality


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("topk", [1, 4, 100])
def test_the_other_rule_against_itself_pair_by_pair(seed, topk):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(40, 2, generator=generator) * 40
    reach = torch.rand(2, 40, 4, generator=generator) * 15
    predicted = torch.cat([points - reach[..., :2], points + reach[..., 2:]], dim=-1)
    corners = torch.rand(2, 6, 2, generator=generator) * 20
    truths = torch.cat([corners, corners + 10 + 10 * torch.rand(2, 6, 2, generator=generator)], 2)
    classes = torch.randint(0, 3, (2, 6), generator=generator)
    truths[1, 4:], classes[1, 4:] = 0.0, -1
    scores = 1e-12 ** torch.rand(2, 40, 3, generator=generator)
    options = {"alpha": 0.5, "beta": 6.0, "topk": topk}
    found = assign_task_aligned(
        scores, predicted, points, truths, classes, **options, rule="ppyoloe"
    )
    for image in range(2):
        expected, quality = naive_ppyoloe(
            *(scores[image], predicted[image], points, truths[image], classes[image].tolist()),
            **options,
        )
        assert found.matched[image].tolist() == expected
        torch.testing.assert_close(found.quality[image], torch.tensor(quality))


def test_three_boxes_want_it_and_one_more_does_not_but_overlaps_it_most():
    # The first two have no other anchor; the third prefers the second anchor, which scores.
    truths = boxes([0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 10, 14])
    predicted, classes = boxes([0, 0, 10, 14], [0, 0, 10, 13.5]), torch.tensor([[0, 0, 1]])
    points = torch.tensor([[5.0, 5], [5, 13]])
    scores = torch.tensor([[[0.5, 1e-9], [0.5, 1.0]]])
    first = tood(scores, predicted, points, truths, classes, topk=1)
    assert first.matched.tolist() == [[1, 2]]
    other = tood(scores, predicted, points, truths, classes, topk=1, rule="ppyoloe")
    assert other.matched.tolist() == [[2, 2]]


def test_anchors_that_are_not_aligned_fill_up_with_a_quality_of_zero():
    truths, predicted = boxes([0, 0, 10, 10]), boxes([0, 0, 10, 8], [50, 0, 60, 10])
    points = torch.tensor([[5.0, 5], [6, 6]])
    arguments = (torch.ones(1, 2, 1), predicted, points, truths, torch.tensor([[0]]))
    assert tood(*arguments).matched.tolist() == [[0, 1]]
    found = tood(*arguments, rule="ppyoloe")
    assert found.matched.tolist() == [[0, 0]]
    torch.testing.assert_close(found.quality, torch.tensor([[0.8, 0.0]]))


def test_other_regions_can_hold_the_points():
    truths, predicted = boxes([0, 0, 4, 4]), boxes([0, 0, 4, 4])
    arguments = (torch.ones(1, 1, 1), predicted, torch.tensor([[5.0, 5]]), truths)
    assert tood(*arguments, torch.tensor([[0]])).matched.tolist() == [[1]]
    found = tood(*arguments, torch.tensor([[0]]), regions=boxes([-1, -1, 6, 6]))
    assert found.matched.tolist() == [[0]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("topk", [1, 3, 100])
def test_against_the_rule_pair_by_pair(seed, topk):
    generator = torch.Generator().manual_seed(seed)
    counts, anchors = (int(torch.randint(0, 6, (), generator=generator)), 5), 25
    corners = torch.rand(2, anchors + 5, 2, generator=generator) * 30
    sides = 5 + torch.rand(2, anchors + 5, 2, generator=generator) * 15
    every = torch.cat([corners, corners + sides], dim=2)
    predicted, truths = every[:, :anchors], every[:, anchors:].clone()
    classes = torch.randint(0, 3, (2, 5), generator=generator)
    for image, count in enumerate(counts):  # padded at the end
        truths[image, count:], classes[image, count:] = 0.0, -1
    scores = torch.rand(2, anchors, 3, generator=generator)
    points = torch.rand(anchors, 2, generator=generator) * 40
    options = {"alpha": 0.5, "beta": 6.0, "topk": topk}
    found = assign_task_aligned(scores, predicted, points, truths, classes, **options)
    for image in range(2):
        expected, quality = naive(
            *(scores[image], predicted[image], points, truths[image], classes[image].tolist()),
            **options,
        )
        assert found.matched[image].tolist() == expected
        torch.testing.assert_close(found.quality[image], torch.tensor(quality))


def test_images_without_boxes_and_boxes_without_area():
    predicted = boxes([0, 0, 10, 10], [5, 5, 5, 5])
    scores = torch.rand(1, 2, 3)
    nothing = torch.zeros(1, 0, dtype=torch.int64)
    empty = tood(scores, predicted, centres(predicted), boxes(), nothing)
    assert empty.matched.tolist() == [[0, 0]] and not empty.quality.any()
    degenerate = boxes([5, 5, 5, 5], [3, 8, 7, 8])
    found = tood(scores, predicted, centres(predicted), degenerate, torch.tensor([[0, 1]]))
    assert found.matched.tolist() == [[2, 2]] and not found.quality.any()
    assert found.quality.isfinite().all() and found.overlap.isfinite().all()


def test_no_order_of_the_anchors_changes_a_quality_where_overlaps_are_zero():
    """Which of many anchors without overlap a box takes is left to ``topk``; all get nothing."""
    generator = torch.Generator().manual_seed(0)
    truths = boxes([0, 0, 40, 40], [30, 30, 60, 60])
    corners = torch.rand(1, 60, 2, generator=generator) * 60
    predicted = torch.cat([corners, corners + 3], dim=-1)
    predicted[:, :6] += torch.tensor([-2.0, -2, 15, 15])
    points = corners + torch.rand(1, 60, 2, generator=generator)
    scores = torch.rand(1, 60, 1, generator=generator)

    def overlap(a, b):
        value = iou(a, b)
        return value.where(value > 0.05, 0.0)  # as CIoU below 0, which counts as 0

    def assign(order):
        found = assign_task_aligned(
            *(scores[:, order], predicted[:, order], points[:, order], truths),
            torch.zeros(1, 2, dtype=torch.int64),
            **{"alpha": 0.5, "beta": 6.0, "topk": 10, "overlap": overlap, "rule": "ppyoloe"},
        )
        return found.quality[0, order.argsort()], found.matched[0, order.argsort()]

    quality, matched = assign(torch.arange(60))
    assert (quality > 0).any() and ((quality == 0) & (matched < 2)).any()
    for seed in range(5):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        again, others = assign(order)
        torch.testing.assert_close(again, quality)
        assert torch.equal(others[quality > 0], matched[quality > 0])
