import pytest
import torch

from bccd.modeling.assigners.labels import IGNORED
from bccd.modeling.assigners.uniform import match_uniformly
from bccd.modeling.losses import iou

OPTIONS = {"topk": 4, "min_anchor_iou": 0.15, "max_negative_iou": 0.7}


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def naive(anchors, predicted, truths, topk, min_anchor_iou, max_negative_iou):
    """The rule box by box: (label of each anchor, list of the pairs that count)."""

    def distance(a, b):
        centre = [abs((a[i] + a[i + 2]) - (b[i] + b[i + 2])) / 2 for i in (0, 1)]
        side = [abs((a[i + 2] - a[i]) - (b[i + 2] - b[i])) for i in (0, 1)]
        return float(sum(centre + side))

    labels = [
        IGNORED if any(iou(p, t) > max_negative_iou for t in truths) else len(truths)
        for p in predicted
    ]
    nearest = [
        [sorted(range(len(x)), key=lambda a, t=t, x=x: distance(x[a], t))[:topk] for t in truths]
        for x in (predicted, anchors)
    ]
    pairs = []
    for rank in range(min(topk, len(anchors))):
        for order in nearest:
            for truth, of_truth in enumerate(order):
                anchor = of_truth[rank]
                near = bool(iou(anchors[anchor], truths[truth]) >= min_anchor_iou)
                labels[anchor] = truth if near else IGNORED
                pairs += [(anchor, truth)] * near
    return labels, pairs


def assert_as_naive(anchors, predicted, truths, **options):
    found = match_uniformly(anchors, predicted, truths, **options)
    labels, pairs = naive(anchors, predicted, truths, **options)
    assert found.matched.tolist() == labels
    assert list(zip(found.anchors.tolist(), found.truths.tolist(), strict=True)) == pairs
    return found


def test_three_boxes_drawn_by_hand():
    # A row of anchors of side 10, every 10 pixels; predictions are anchors moved right by 4.
    anchors = torch.stack([boxes([10 * i, 0, 10 * i + 10, 10])[0] for i in range(8)])
    predicted = anchors + torch.tensor([4.0, 0, 4, 0])
    truths = boxes([0, 0, 10, 10], [14, 0, 24, 10], [68, 0, 78, 10])
    found = assert_as_naive(
        anchors, predicted, truths, topk=1, min_anchor_iou=0.15, max_negative_iou=0.7
    )
    # The third's nearest prediction is that of anchor 6, which overlaps it by a ninth alone.
    assert found.matched.tolist() == [0, 1, 3, 3, 3, 3, IGNORED, 2]
    assert found.anchors.tolist() == [0, 1, 0, 1, 7]
    assert found.overlap[0] == pytest.approx(6 / 14)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("topk", [1, 4])
def test_against_the_rule_box_by_box(seed, topk):
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 8, (), generator=generator))
    # On a coarse grid: distances tie, and ground truths compete for the same anchors.
    corners = torch.randint(0, 8, (20 + count, 2), generator=generator) * 4.0
    sides = torch.randint(1, 6, (20 + count, 2), generator=generator) * 4.0
    every = torch.cat([corners, corners + sides], dim=1)
    moved = every[:20] + torch.randint(-2, 3, (20, 1), generator=generator)
    assert_as_naive(every[:20], moved, every[20:], **{**OPTIONS, "topk": topk})


def test_fewer_anchors_than_are_to_be_matched_and_an_empty_image():
    anchors = boxes([0, 0, 10, 10], [10, 0, 20, 10])
    assert_as_naive(anchors, anchors, boxes([0, 0, 10, 10], [8, 0, 18, 10]), **OPTIONS)
    empty = match_uniformly(anchors, anchors, boxes(), **OPTIONS)
    assert empty.matched.tolist() == [0, 0] and len(empty.anchors) == len(empty.truths) == 0


def test_an_anchor_of_two_ground_truths_takes_the_last_and_its_pairs_all_stay():
    anchors = boxes([0, 0, 10, 10])
    found = match_uniformly(anchors, anchors, boxes([0, 0, 9, 10], [1, 0, 10, 10]), **OPTIONS)
    assert found.matched.tolist() == [1]
    assert found.anchors.tolist() == [0] * 4 and found.truths.tolist() == [0, 1, 0, 1]


def test_predictions_that_are_nearly_right_are_no_negatives():
    anchors = boxes([0, 0, 10, 10], [40, 0, 50, 10], [80, 0, 90, 10])
    predicted = boxes([0, 0, 10, 10], [0, 0, 10, 9], [80, 0, 90, 10])
    options = {**OPTIONS, "topk": 1}
    found = match_uniformly(anchors, predicted, boxes([0, 0, 10, 10]), **options)
    assert found.matched.tolist() == [0, IGNORED, 1]


def test_boxes_without_area_and_numbers_that_are_not_finite_match_without_error():
    anchors = boxes([0, 0, 10, 10], [5, 5, 5, 5], [20, 0, 30, 10])
    predicted = anchors.clone()
    predicted[2] = torch.nan
    found = match_uniformly(anchors, predicted, boxes([5, 5, 5, 5], [20, 0, 30, 10]), **OPTIONS)
    assert 2 in found.anchors and set(found.matched.tolist()) <= {0, 1, 2, IGNORED}
